"""What runs inside the sandbox: a solution that answers questions, and in another sandbox an examiner that asks them.

The examiner runs the data set's tests as they are written, and every function of the solution's stands there as a
``Remote``: calling it asks the solution's process, over a pipe that the trainer holds both ends of. So the expected
values are in a process that no line of the solution ever runs in, whatever form the asserts have: loops, tolerances,
random inputs. What comes back is plain data (numbers, text, lists, ...), told by what a value is and not by what it
claims: an ``__eq__``, ``__repr__`` or ``__bool__`` of the solution's is never called by a test. An object of a class
of its own stays where it is; the examiner holds a ``Remote`` that can be called, indexed or handed back, but that
equals nothing and is neither true nor false.

Each process reads messages (their length, a newline, that many bytes) and writes lines. The solution answers
["value", x] or ["error", name of the exception]; the examiner writes "?" and a question, or "!" and a verdict.

The trainer compiles this file and sends it to a bare interpreter, which should start in milliseconds: nothing is
imported before it is needed, and ``os`` not at all.
"""

from __future__ import annotations

import posix
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

ITEMS = 10_000  # of an iterator that a solution returns; some never end
TYPES = {kind.__name__: kind for kind in (int, float, complex, bool, str, bytes, list, tuple, set, frozenset, dict)}
JSON: dict[str, Any] = {"null": None, "true": True, "false": False, "NaN": float("nan"), "Infinity": float("inf")}
JSON["__builtins__"] = {}


def told(value: Any, other: Callable[[Any], str]) -> str:
    """A value as JSON, containers with a tag before their items; ``other`` tells what is no plain data.

    Subclasses are told as what they are built on, with the built-in class's own methods.
    """
    from _json import encode_basestring as quoted

    def items(tag: str, values: Any) -> str:
        return f"[{', '.join([quoted(tag), *(told(item, other) for item in values)])}]"

    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        text = float.__repr__(value)
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)
    if isinstance(value, str):
        return quoted(str.__str__(value))
    kinds: tuple[Any, ...] = (list, tuple, set, frozenset)
    for kind in kinds:
        if isinstance(value, kind):
            return items(kind.__name__, kind.__iter__(value))
    if isinstance(value, dict):
        return items("dict", [one for pair in dict.items(value) for one in pair])
    if isinstance(value, bytes | bytearray):
        return items("bytes", bytes(value))
    if isinstance(value, complex):
        return items("complex", [value.real, value.imag])
    if isinstance(value, range):
        return items("range", [value.start, value.stop, value.step])
    if isinstance(value, type) and value in TYPES.values():
        return items("type", [value.__name__])
    if hasattr(type(value), "__next__") or isinstance(value, type({}.keys()) | type({}.values()) | type({}.items())):
        return items("iterator", [item for item, _ in zip(value, range(ITEMS), strict=False)])
    return other(value)


def understood(data: Any, other: Callable[[str, Any], Any]) -> Any:
    """The value that ``told`` told; ``other`` finds what is no plain data, by its tag and name or number."""
    if not isinstance(data, list):
        return data
    tag, *items = data
    if tag in ("object", "name"):
        return other(tag, items[0])
    if tag == "type":
        return TYPES[items[0]]
    values = [understood(item, other) for item in items]
    if tag == "dict":
        return dict(zip(values[::2], values[1::2], strict=True))
    if tag in ("complex", "range"):
        return complex(*values) if tag == "complex" else range(*values)
    plain: dict[str, Any] = {
        "list": list,
        "tuple": tuple,
        "set": set,
        "frozenset": frozenset,
        "bytes": bytes,
        "iterator": iter,
    }
    return plain[tag](values)


def message(feed: BinaryIO) -> str | None:
    """The next message; None when there are no more."""
    length = feed.readline()
    return feed.read(int(length)).decode("utf-8", "surrogatepass") if length else None


def opened() -> tuple[BinaryIO, Callable[[str], None]]:
    """Where messages come from and how lines are written; what else is printed or read goes nowhere. Sets limits.

    The command line has the limits: seconds of processor time, bytes of memory, bytes a file, open files, processes.
    """
    import resource

    wanted = zip(("CPU", "AS", "FSIZE", "NOFILE", "NPROC"), sys.argv[1:], strict=True)
    for name, limit in [("CORE", "0"), *wanted]:
        if (which := getattr(resource, f"RLIMIT_{name}", None)) is not None:  # some systems lack some of them
            resource.setrlimit(which, (int(limit), int(limit)))
    sys.argv[:] = [""]
    feed, out = sys.stdin.buffer, posix.dup(1)
    nowhere = posix.open("/dev/null", posix.O_RDWR)
    for stream in (1, 2):
        posix.dup2(nowhere, stream)
    sys.stdin = open(nowhere, closefd=False)  # noqa: SIM115  open for as long as the process lives

    def say(line: str) -> None:
        rest = f"{line}\n".encode("utf-8", "surrogatepass")
        while rest:
            rest = rest[posix.write(out, rest) :]

    say("ready")
    return feed, say


def run_solution() -> None:
    """The solution's process: run the program that comes first, then answer questions about it."""
    feed, say = opened()
    module = type(sys)("solution")
    sys.modules["solution"] = module
    kept: list[Any] = []

    def keep(value: Any) -> str:
        kept.append(value)
        return f'["object", {len(kept) - 1}]'

    def find(tag: str, key: Any) -> Any:
        return kept[key] if tag == "object" else vars(module)[key]

    def run(program: str) -> Any:
        exec(compile(program, "solution.py", "exec", dont_inherit=True), vars(module))

    def do(question: str) -> Any:
        verb, target, *rest = understood(eval(question, dict(JSON)), find)
        if verb == "call":
            return target(*rest[0], **rest[1])
        others: dict[str, Any] = {"get": getattr, "set": setattr, "item": lambda whole, key: whole[key]}
        return others[verb](target, *rest)

    act: Callable[[str], Any] = run
    while (asked := message(feed)) is not None:
        try:
            answer = f'["value", {told(act(asked), keep)}]'
        except BaseException as error:  # SystemExit and KeyboardInterrupt are answers too
            answer = f'["error", {told(type(error).__name__[:80], keep)}]'
        say(answer)
        act = do


def run_tests() -> None:
    """The examiner's process: one test after another, a verdict on each."""
    import json

    feed, say = opened()

    def ask(*question: Any) -> Any:
        TestCase.questions += 1
        say(f"?{told(list(question), lambda value: reference(value))}")
        kind, answer = json.loads(str(message(feed)))
        if kind == "gone":
            raise ProcessExited
        if kind == "error":
            raise raised(str(answer))
        return understood(answer, RemoteProxy)

    def reference(value: Any) -> str:
        if isinstance(value, RemoteProxy):
            return object.__getattribute__(value, "reference")
        raise UnsentError(f"{type(value).__name__} cannot be sent")

    TestCase.ask = staticmethod(ask)
    while (job := message(feed)) is not None:
        say(f"!{json.dumps(TestCase(**json.loads(job)).verdict())}")


class ProcessExited(BaseException):
    """The solution's process has ended."""


class UnsentError(Exception):
    """A test wants to hand the solution what is no plain data: a function of its own, say."""


class OpaqueError(Exception):
    """Something was asked of a solution's own object that only a value can tell."""


def raised(name: str) -> Exception:
    """What the solution raised, as an exception of the same built-in class where there is one."""
    import builtins

    kind = getattr(builtins, name, None)
    try:
        error = kind() if isinstance(kind, type) and issubclass(kind, Exception) else Exception(name)
    except TypeError:  # UnicodeDecodeError and the like want arguments
        error = Exception(name)
    error.__dict__["solution"] = name
    return error


class RemoteProxy:
    """A function, class or object of the solution's, seen from the examiner."""

    def __init__(self, tag: str, key: str | int) -> None:
        object.__setattr__(self, "reference", f'["{tag}", {told(key, repr)}]')

    def __call__(self, *args: Any, **named: Any) -> Any:
        return TestCase.ask("call", self, list(args), named)

    def __getattr__(self, name: str) -> Any:
        return TestCase.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        TestCase.ask("set", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return TestCase.ask("item", self, key)

    def _refuse(self, *_: Any) -> Any:
        raise OpaqueError

    __eq__ = __ne__ = __bool__ = __hash__ = __iter__ = __contains__ = _refuse


class TestCase:
    """One test of one solution. ``prelude`` is source, run first; ``names``: what the solution's are called here.

    Names that nobody defines are modules of the standard library, or else the solution's as well.
    """

    questions = 0
    ask: Callable[..., Any]

    def __init__(self, *, prelude: str, names: dict[str, str], test: str) -> None:
        self._prelude, self._names, self._test = prelude, names, test

    def verdict(self) -> tuple[str, str]:
        """Why, and what more there is to say: right, wrong, error (the solution's), or untested (the test's own)."""
        import random

        random.seed(0)  # tests that draw their inputs draw the same ones for everybody
        TestCase.questions = 0
        module = type(sys)("test")
        sys.modules["test"] = module
        space = vars(module)
        try:
            exec(compile(self._prelude, "prelude.py", "exec", dont_inherit=True), space)
            space.update({here: RemoteProxy("name", there) for here, there in self._names.items()})
            code = compile(self._test, "test.py", "exec", dont_inherit=True)
            missing = {name for name in used(code) if name not in space and name not in dir(sys.modules["builtins"])}
            for name in missing:
                space[name] = __import__(name) if name in sys.stdlib_module_names else RemoteProxy("name", name)
        except BaseException as error:
            return "untested", type(error).__name__
        try:
            exec(code, space)
        except ProcessExited:
            return "error", "gone"
        except BaseException as error:
            if "solution" in vars(error):
                return "error", str(vars(error)["solution"])
            if isinstance(error, NameError | UnsentError):
                return "untested", type(error).__name__
            return "wrong", "" if isinstance(error, AssertionError) else type(error).__name__
        return ("right", "") if TestCase.questions else ("untested", "the test asks nothing")


def used(code: Any) -> Iterator[str]:
    """All names in a code object and in the functions within it."""
    yield from code.co_names
    for inner in code.co_consts:
        if hasattr(inner, "co_names"):
            yield from used(inner)
