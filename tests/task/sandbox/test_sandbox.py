"""The sandbox: what it computes is right, what it runs cannot get out, and the machine is afterwards as before."""

from __future__ import annotations

import ctypes
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile import CHEATS, ESCAPES, SECRET
from hypothesis import given, settings
from hypothesis import strategies as st

from amend.errors import UserError
from amend.task.sandbox import bubblewrap, guest, process, seccomp
from amend.task.sandbox.executor import ExecutionRequest, ExecutionResult, Sandbox

SECONDS = 2.0


@pytest.fixture(scope="module")
def walled(bubblewrap: None) -> Sandbox:
    return Sandbox(kind="bubblewrap", seconds=SECONDS)


@pytest.fixture(scope="module", params=["bubblewrap", "rlimit"])
def either(request: pytest.FixtureRequest) -> Sandbox:
    if request.param == "bubblewrap":
        return request.getfixturevalue("walled")
    return Sandbox(kind="rlimit", seconds=SECONDS)


def trial(program: str, test: str = f"assert f(3) == {SECRET}", prelude: str = "", **names: str) -> ExecutionRequest:
    return ExecutionRequest(program, test, prelude, names)


def only(box: Sandbox, one: ExecutionRequest) -> ExecutionResult:
    return box.run([one])[0]


# what is computed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "test", "why"),
    [
        ("def f(x): return x + 1", "assert f(1) == 2", "right"),
        ("def f(x): return x", "assert f(1) == 2", "wrong"),
        ("def f(x): return x / 0", "assert f(1) == 2", "error"),
        ("f = 3", "assert f(1) == 2", "error"),
        ("def g(): pass", "assert f(1) == 2", "error"),
        ("def f(x): return (x, [x, {x: {x}}], None, True, 1.5, 'é\\n', b'\\xff', 2j)", None, "right"),
        ("def f(x): return [x]", "assert f(1) == (1,)", "wrong"),
        ("def f(x): return (x,)", "assert f(1) == [1]", "wrong"),
        ("def f(x): return float('nan')", "import math\nassert math.isnan(f(1))", "right"),
        ("def f(x): return -float('inf')", "assert f(1) == -float('inf')", "right"),
        ("def f(x): return (i for i in range(x))", "assert list(f(3)) == [0, 1, 2]", "right"),
        ("def f(x): return (i for i in range(x))", "assert f(3) == [0, 1, 2]", "wrong"),
        ("def f(x): return range(x)", "assert f(3) == range(3)", "right"),
        ("def f(x): return {}.keys()", "assert list(f(3)) == []", "right"),
        ("from collections import Counter\nf = Counter", "assert f('aab') == {'a': 2, 'b': 1}", "right"),
        ("def f(x): return frozenset(), set(), {}, []", "assert f(1) == (frozenset(), set(), {}, [])", "right"),
        ("def f(*a, k=0): return a, k", "assert f(1, (2,), k=[3]) == ((1, (2,)), [3])", "right"),
        ("def f(x): return 0.1 + 0.2", "assert abs(f(1) - 0.3) < 1e-9", "right"),
        ("def f(x): return '0.3'", "assert abs(f(1) - 0.3) < 1e-9", "wrong"),
        ("def f(x): return x * 2", "for i in range(9):\n    assert f(i) == i + i", "right"),
        ("def f(x): return object()", "assert f(1)", "wrong"),
        ("def f(x): return object()", "assert not f(1)", "wrong"),
        ("def f(x): return object()", "assert f(1) != 3", "wrong"),
        ("def f(x): raise KeyError(x)", "try:\n    f(1)\nexcept KeyError:\n    pass\nelse:\n    assert False", "right"),
        ("import sys\ndef f(x): return sys.getsizeof(x)", "assert f(()) == sys.getsizeof(())", "right"),
        ("def f(x): return 1", "assert 1", "untested"),
        ("def f(x): return 1", "assert (", "untested"),
        ("def f(x): return 1", "assert f(lambda: 1) == 1", "untested"),
        ("def f(x, y): return [z for z in x if not isinstance(z, y)]", "assert f((1, 'a'), str) == [1]", "right"),
        ("def f(x): return int", "assert f(1) is int", "right"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef f(p): return p.x",
            "assert f(P(4)) == 4",
            "right",
        ),
        ("if __name__ == '__main__': raise SystemExit\ndef f(x): return 1", "assert f(0) == 1", "right"),
    ],
)  # fmt: skip
def test_outcomes(either: Sandbox, program: str, test: str | None, why: str) -> None:
    test = test or "assert f(1) == (1, [1, {1: {1}}], None, True, 1.5, 'é\\n', b'\\xff', 2j)"
    assert only(either, trial(program, test)).reason == why


def test_objects_of_the_solutions_stay_with_it(walled: Sandbox) -> None:
    program = (
        "class Node:\n    def __init__(self, v): self.v, self.left = v, None\n"
        "def depth(n): return 1 + depth(n.left) if n else 0"
    )
    test = (
        "root = Node(1)\nroot.left = Node(2)\nroot.left.left = Node(3)\n"
        "assert depth(root) == 3\nassert root.left.v == 2"
    )
    assert only(walled, trial(program, test)) == ExecutionResult("right", "")


def test_the_prelude_is_beside_the_test_and_not_in_the_program(walled: Sandbox) -> None:
    one = trial("def f(x): return code(x)", "assert g('a') == code('a')", "def code(x): return x + x", g="f")
    assert only(walled, one) == ExecutionResult("error", "NameError")
    assert only(walled, one._replace(program="def f(x): return x * 2")) == ExecutionResult("right", "")


def test_random_inputs_are_the_same_for_everybody(walled: Sandbox) -> None:
    test = "import random\nassert f(random.random()) == 0.8444218515250481\n"
    assert [o.reason for o in walled.run([trial("def f(x): return x", test)] * 3)] == ["right"] * 3


def test_order_is_kept_and_several_run_side_by_side(bubblewrap: None) -> None:
    box = Sandbox(kind="bubblewrap", seconds=SECONDS, workers=4)
    programs = [trial(f"import time\ntime.sleep(0.5)\ndef f(x): return {i % 2}", "assert f(0) == 1") for i in range(12)]
    began = time.perf_counter()
    found = [outcome.reason for outcome in box.run(programs)]
    assert found == ["wrong", "right"] * 6
    assert time.perf_counter() - began < 0.75 * sum(0.5 for _ in programs)


FLAT = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
PLAIN = st.recursive(
    FLAT | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=50)
@given(PLAIN)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    import json

    def never(*_: Any) -> Any:
        raise AssertionError

    text = guest.serialize(value, never)
    assert "\n" not in text
    for read in (json.loads(text), eval(text, dict(guest.JSON))):
        back = guest.understood(read, never)
        assert back == value
        assert type(back) is type(value)


# what cannot get out ------------------------------------------------------------------------------------------------


def escape(statements: str) -> str:
    body = "\n".join(f"        {line}" for line in statements.replace("{tests!r}", repr(__file__)).split("\n"))
    return (
        f"def f():\n    try:\n{body}\n        return 'done'\n    except BaseException as error:\n"
        "        number = error.errno if type(error) is OSError else None\n"
        "        return type(error).__name__ + (f' {number}' if number else '')\n"
    )


def children() -> dict[int, str]:
    """Processes that this one started and has not yet reaped: their numbers and states (Z: a zombie)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = path.read_text().rpartition(") ")
        except OSError:
            continue
        if int(rest.split()[1]) == os.getpid():
            found[int(path.parent.name)] = rest.split()[0]
    return found


def marks(home: Path) -> dict[str, Any]:
    """What of the machine a program of ours might leave a mark on; /tmp belongs to others as well."""
    ours = {"mine", "long", "link", *map(str, range(50))}
    return {
        "children": children(),
        "home": {path: (path.stat().st_mtime_ns, path.read_text()) for path in home.rglob("*")},
        "files": [folder / name for folder in map(Path, ("/", "/dev/shm", "/tmp", "/usr/lib")) for name in ours
                  if (folder / name).exists()],
        "open": len(list(Path("/proc/self/fd").iterdir())),
        "threads": {thread.name for thread in threading.enumerate()},
    }  # fmt: skip


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine is as before: no process, dead or alive, no file, no open file of ours that was not there."""
    (tmp_path / "canary").write_text("untouched")
    monkeypatch.setenv("HOME", str(tmp_path))
    started: list[int] = []
    handle = os.pidfd_open
    monkeypatch.setattr(process.os, "pidfd_open", lambda number: started.append(number) or handle(number))
    before = marks(tmp_path)
    yield
    assert marks(tmp_path) == before
    assert started
    left = [Path(f"/proc/{number}/stat").read_text() for number in started if Path(f"/proc/{number}").exists()]
    assert not [stat for stat in left if "(bwrap)" in stat or "python" in stat], left


def test_no_zombie_stays_where_the_first_process_does_not_reap(walled: Sandbox) -> None:
    """bubblewrap ends as soon as it is told that its child ends; whose child that is from then on has to reap it."""
    ctypes.CDLL(None).prctl(
        process.SET_CHILD_SUBREAPER, 1, 0, 0, 0
    )  # this process is such a first one, to all below it
    before = children()
    walled.run([trial("import os; os._exit(0)")] * 20)
    walled.run([trial("def f(x):\n    while True:\n        pass")])
    assert children() == before


@pytest.mark.usefixtures("clean")
def test_no_program_gets_out(walled: Sandbox) -> None:
    trials = [trial(escape(statements), f"assert f() in {contained}") for statements, contained in ESCAPES.values()]
    outcomes = walled.run(trials)
    failed = {name: outcome for name, outcome in zip(ESCAPES, outcomes, strict=True) if outcome.reason != "right"}
    assert not failed, failed


@pytest.mark.usefixtures("clean")
def test_no_program_earns_what_it_has_not_computed(walled: Sandbox) -> None:
    outcomes = walled.run([trial(program) for program, _ in CHEATS.values()])
    found = dict(zip(CHEATS, outcomes, strict=True))
    assert {name: o for name, o in found.items() if o.reason not in CHEATS[name][1]} == {}


def test_there_are_enough_of_them() -> None:
    assert len(ESCAPES) >= 40 and len(CHEATS) >= 40
    assert not [name for name, (_, whys) in CHEATS.items() if "right" in whys]


@pytest.mark.usefixtures("clean")
def test_the_machine_is_clean_after_an_interrupted_batch(walled: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(3))

    def interrupted(*_: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return ExecutionResult("right", ""), True

    monkeypatch.setattr(Sandbox, "_try", interrupted)
    with pytest.raises(KeyboardInterrupt):
        walled.run([trial("f = 1")] * 8)


def test_an_examiner_that_an_answer_kills_is_replaced(walled: Sandbox) -> None:
    """The test itself cannot cope with what it is given: only that answer pays for it."""
    test = "x = f(0)\nassert 9 ** x == 1"
    programs = [f"def f(x): return {value}" for value in ("10**9", "0", "10**9", "0")]
    assert [o.reason for o in walled.run([trial(p, test) for p in programs])] == [
        "timeout",
        "right",
        "timeout",
        "right",
    ]


# what it needs ------------------------------------------------------------------------------------------------------


def test_without_bubblewrap_it_refuses_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    bubblewrap.bubblewrap_command.cache_clear()
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda _: None)
    try:
        with pytest.raises(UserError, match=r"apt-get install bubblewrap.*sandbox=rlimit") as caught:
            Sandbox(kind="bubblewrap", seconds=1.0)
        assert "\n" not in str(caught.value)
    finally:
        bubblewrap.bubblewrap_command.cache_clear()


def test_where_bubblewrap_may_not_work_the_line_has_its_words(
    bubblewrap: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ("bwrap", "--no-such-option", "--")
    monkeypatch.setattr("amend.task.sandbox.bubblewrap.bubblewrap_command", lambda: broken)
    with pytest.raises(UserError, match=r"could not be started.*no-such-option"):
        Sandbox(kind="bubblewrap", seconds=1.0)


def test_rlimit_warns(caplog: pytest.LogCaptureFixture) -> None:
    Sandbox(kind="rlimit", seconds=SECONDS)
    assert "no security boundary" in caplog.text


def test_rlimit_holds_its_limits() -> None:
    box = Sandbox(kind="rlimit", seconds=1.0)
    chosen = ["processor time", "sleep", "equals everything", "end when asked", "a flood on the pipe"]
    outcomes = box.run([trial(CHEATS[name][0]) for name in chosen])
    assert all(outcome.reason in CHEATS[name][1] for name, outcome in zip(chosen, outcomes, strict=True))
    statements, contained = ESCAPES["memory"]
    assert only(box, trial(escape(statements), f"assert f() in {contained}")).reason == "right"


# system calls -------------------------------------------------------------------------------------------------------


def test_numbers_of_system_calls_are_the_kernels() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.is_file():
        pytest.skip("no kernel headers; enable with: apt-get install linux-libc-dev")
    known = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text()))
    assert {name: number for name, (number, _) in seccomp.ALLOWED.items()} == {
        name: int(known[name]) for name in seccomp.ALLOWED
    }


def run_filter(program: bytes, architecture: int, number: int) -> int:
    """Classic BPF, by hand."""
    import struct

    steps = list(struct.iter_unpack("=HBBI", program))
    at, held, data = 0, 0, {seccomp.NUMBER: number, seccomp.ARCHITECTURE: architecture}
    while True:
        code, yes, no, k = steps[at]
        at += 1
        if code == seccomp.LOAD:
            held = data[k]
        elif code == seccomp.EQUALS:
            at += yes if held == k else no
        else:
            return k


@pytest.mark.parametrize("machine", list(seccomp.ARCHITECTURES))
def test_the_filter_allows_its_list_and_nothing_else(machine: str) -> None:
    which = list(seccomp.ARCHITECTURES).index(machine)
    allowed = {pair[which] for pair in seccomp.ALLOWED.values()}
    program, ours = seccomp.program(machine), seccomp.ARCHITECTURES[machine]
    for number in [*range(600), *(0x40000000 + n for n in range(600))]:
        assert run_filter(program, ours, number) == (seccomp.ALLOW if number in allowed else seccomp.EPERM)
    assert run_filter(program, 0x40000003, 1) == seccomp.KILL


def test_what_makes_processes_and_sockets_is_not_on_the_list() -> None:
    never = {
        "fork",
        "vfork",
        "clone",
        "clone3",
        "socket",
        "connect",
        "ptrace",
        "kill",
        "mount",
        "unshare",
        "setns",
        "bpf",
    }
    assert not never & set(seccomp.ALLOWED)
