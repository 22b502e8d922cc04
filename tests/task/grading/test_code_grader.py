"""Tasks of writing programs: what is asked, which part of a reply is code, and what each verdict means."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amend.errors import UserError
from amend.task.base import Task
from amend.task.grading.extract_code import LONGEST_PROGRAM, LONGEST_REPLY, defines, extract_code
from amend.task.humaneval import HumanEval
from amend.task.mbpp import MBPP
from amend.types import Message

KNOBS = {"shots": 0, "first_attempts": None, "instruction": "Try again.", "seconds": 2.0, "validation": 90, "test": 500}
ROW = {
    "text": "Write a function to double a number.",
    "code": "import math\r\n\r\ndef double(x):\r\n    return 2 * x",
    "test_setup_code": "",
    "test_list": ["assert double(2) == 4", "assert double(-1) == -2"],
}
PROMPT = '''from typing import List

def helper(x: int) -> int:
    return x + 1

def total(xs: List[int]) -> int:
    """ Sum, with one more.
    >>> total([1, 2])
    4
    """
'''
EVAL = {
    "task_id": "HumanEval/0",
    "prompt": PROMPT,
    "canonical_solution": "    return helper(sum(xs))\n",
    "test": "def check(candidate):\n    for n in range(5):\n        assert candidate([n]) == helper(n)\n",
    "entry_point": "total",
}


def rows(folder: Path, *made: dict[str, Any], name: str = "mbpp.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in made))
    return str(folder)


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{**ROW, "task_id": number, "text": f"Task {number}."} for number in numbers]


@pytest.fixture
def mbpp(tmp_path: Path) -> MBPP:
    return MBPP(source=rows(tmp_path, *numbered(2, 3, 4, 11, 511, 601, 974)), sandbox="rlimit", **KNOBS)


@pytest.fixture
def humaneval(tmp_path: Path) -> HumanEval:
    rows(tmp_path, *numbered(2, 11, 511, 601))
    (tmp_path / "HumanEval.jsonl.gz").write_bytes(gzip.compress(json.dumps(EVAL).encode()))
    knobs = {"shots": 1, "seconds": 2.0, "validation": 90, "test": 164}
    return HumanEval(source=str(tmp_path), train=str(tmp_path), sandbox="rlimit", **knobs)


# which part is code -------------------------------------------------------------------------------------------------

OLD, NEW = "def f(x):\n    return 1", "def f(x):\n    return 2"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (f"Here it is:\n```python\n{NEW}\n```\nDone.", f"{NEW}\n"),
        (f"```\n{NEW}\n```", f"{NEW}\n"),
        (f"It was\n```python\n{OLD}\n```\nbut should be\n```py\n{NEW}\n```\n", f"{NEW}\n"),
        (f"```python\n{NEW}\n```\nUse it so:\n```python\nprint(f(3))\n```", f"{NEW}\n"),
        (f"```python\n{NEW}\n```\nwhich gives\n```text\n2\n```", f"{NEW}\n"),
        (f"```python\n{NEW}", NEW),
        (f"```python\r\n{NEW}\r\n```".replace("\n    ", "\r\n    "), f"{NEW}\n"),
        (f"[BEGIN]\n{NEW}\n[DONE]", f"\n{NEW}\n"),
        (f"{NEW}\n[DONE]\n\nYou are an expert Python programmer, and", f"{NEW}\n"),
        (f"[BEGIN]\n{OLD}\n[DONE] no: [BEGIN]\n{NEW}\n[DONE]", f"\n{NEW}\n"),
        (f"[BEGIN]\n```python\n{NEW}\n```\n[DONE]", f"{NEW}\n"),
        # a base model goes on with problems of its own
        (f"{NEW}\n[DONE]\n\nYou are an expert ... [BEGIN]\ndef g(x):\n    return 3\n[DONE]", f"{NEW}\n"),
        (f"[BEGIN]\n{NEW}\n[DONE] You are ... [BEGIN]\ndef g(x):\n    return 3\n[DONE]", f"\n{NEW}\n"),
        ("    return 2\n[DONE]\nYou are ... [BEGIN]\ndef g(x): return 3\n[DONE]", "    return 2\n"),
        (f"~~~python\n{NEW}\n~~~", f"{NEW}\n"),
        (f"```python title=a.py\n{NEW}\n```", f"{NEW}\n"),
        ("1. so\n   ```python\n   def f(x):\n       return 2\n   ```", f"{NEW}\n"),
        (f"Sure, this does it.\n{NEW}", NEW),
        (f"import math\n{NEW}", f"import math\n{NEW}"),
        ("    return 2", "    return 2"),
        # the rest of a function, and a program that uses it
        ("    y = 2\n    return y\n\ndef main():\n    f(1)", "    y = 2\n    return y\n\ndef main():\n    f(1)"),
        ("return 2\n\ndef main():\n    f(1)", "return 2\n\ndef main():\n    f(1)"),
        ("", None),
        ("I do not know.", None),
        ("```text\nno code\n```", None),
    ],
)
def test_the_code_of_a_reply(reply: str, code: str | None) -> None:
    assert extract_code(reply, "f") == code


HELPS = "import math\nimport numpy\n\n@cache\ndef g(x):\n    return h(math.pi)\n\nprint(g(1))\n"
USES = "def f(x):\n    return g(x)\n"


def test_what_a_solution_uses_of_other_blocks_goes_with_it() -> None:
    """The helper with its decorator, its own helper and its import; not the call, not what nobody asked for."""
    fenced = [f"```python\n{code}```" for code in (HELPS, "class h:\n    pass\n", USES, "def u(): pass\n")]
    helper = "@cache\ndef g(x):\n    return h(math.pi)\n"
    assert extract_code("\nand\n".join(fenced), "f") == f"import math\n{helper}class h:\n    pass\n{USES}"
    own = f"def g(x):\n    return 1\n{USES}"
    assert extract_code(f"{fenced[0]} better:\n```python\n{own}```", "f") == own  # it has a g of its own
    quoted = f"def g(x):\n    return 3\n\n{OLD}\n"
    assert extract_code(f"```python\n{quoted}```\n```python\n{USES}```", "f") == f"def g(x):\n    return 3\n{USES}"


@pytest.mark.parametrize(
    ("other", "answer"),
    [
        ("from 1 to 10 the sum is 45", "def f(x):\n    return sum(x)\n"),  # what it printed, in a block
        ("from solution import f", "def f(x):\n    solution = 2\n    return solution\n"),
        ("class Solution:\n    def f(self, x: List[int]): pass", 'def f(x):\n    """Solution"""\n    return 2\n'),
        ("@dataclass\nclass Point: pass", "def f(p):\n    # p is a Point\n    return p\n"),
        ("def g(x): return 2", "def f(x):\n    def g(y): return y\n    return g(x)\n"),
        ("def g(x): return 2", "def f(x):\n    return g(\n"),  # it does not parse, and is left alone
    ],
)
def test_what_it_does_not_need_stays_where_it_is(other: str, answer: str) -> None:
    assert extract_code(f"```\n{other}\n```\nso\n```python\n{answer}```", "f") == answer


@pytest.mark.parametrize("deep", [100, 400, 900, 3000])
def test_a_helper_too_deep_to_be_written_down_again_is_left_out(deep: int) -> None:
    helper, answer = f"def g(x):\n    return {' + '.join(['x'] * deep)}\n", "def f(x):\n    return g(x)\n"
    code = str(extract_code(f"```python\n{helper}```\n```python\n{answer}```", "f"))
    assert code.endswith(answer)
    assert "def g" in code or deep > 100


def test_a_helper_may_need_what_the_solution_imports() -> None:
    helper = "def g(xs: List[int]):\n    return xs\n"
    answer = "from typing import List\ndef f(xs):\n    return g(xs)\n"
    names: dict[str, Any] = {}
    exec(str(extract_code(f"```python\n{helper}```\n```python\n{answer}```", "f")), names)
    assert names["f"]([1]) == [1]


@given(st.text(alphabet="`[BEGINDO]\n\rdefpython f():\x00\ud800 ", max_size=300))
def test_reading_code_is_total(reply: str) -> None:
    extract_code(reply, "f")


HELPING = ["```py\ndef f(): g\n```\n```py\ndef g(): f\n```", "```py\nimport a, g\ndef f(): g\n```"]


@pytest.mark.parametrize("nasty", ["```", "```py\n", "[BEGIN]", "def ", " \n", "    ", "\n", " return", "@", *HELPING])
def test_reading_code_is_linear(nasty: str) -> None:
    """Of eight times the text, eight times the time: three times that is allowed for, and what is square takes 64."""

    def taken(length: int) -> float:
        text, found = nasty * (length // len(nasty)), []
        for _ in range(3):
            started = time.process_time()
            extract_code(text, "f")
            found.append(time.process_time() - started)
        return min(found)

    assert taken(LONGEST_REPLY // 4) < 24 * max(taken(LONGEST_REPLY // 32), 1e-3)


@pytest.mark.parametrize(
    ("code", "yes"),
    [
        ("def f(x): pass", True),
        ("async def f(x): pass", True),
        ("class f: pass", True),
        ("f = lambda x: x", True),
        ("def ff(x): pass", False),
        ("    def f(x): pass", False),
        ("print(f)", False),
    ],
)
def test_what_defines_a_name(code: str, yes: bool) -> None:
    assert defines(code, "f") is yes


# mbpp ---------------------------------------------------------------------------------------------------------------


def test_splits_are_the_published_ones(mbpp: MBPP) -> None:
    assert isinstance(mbpp, Task)
    ids = {split: [p.meta["task_id"] for p in mbpp.problems(split)] for split in ("train", "val", "test")}
    assert ids == {"train": [601, 974], "val": [511], "test": [11]}
    assert mbpp.provenance["all"]["rows"] == 7 and len(str(mbpp.provenance["all"]["sha256"])) == 64


def test_the_prompt_is_the_papers_letter_for_letter(tmp_path: Path) -> None:
    task = MBPP(source=rows(tmp_path, *numbered(2, 3, 4, 11)), sandbox="rlimit", **{**KNOBS, "shots": 3})
    (message,) = task.render_prompt(task.problems("test")[0])
    tests = "assert double(2) == 4\nassert double(-1) == -2"
    code = "import math\n\ndef double(x):\n    return 2 * x"
    start = (
        "You are an expert Python programmer, and here is your task: Task {n}. Your code should pass these tests:\n\n"
    )
    shots = "".join(f"{start.format(n=n)}{tests}\n[BEGIN]\n{code}\n[DONE]\n\n" for n in (2, 3, 4))
    assert message == Message("user", f"{shots}{start.format(n=11)}{tests}\n[BEGIN]\n")


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("def double(x):\n    return x + x\n[DONE]", "right"),
        ("```python\ndef double(x):\n    return x * x\n```", "wrong"),
        ("```python\ndef double(x):\n    return y\n```", "error"),
        ("```python\ndef twice(x):\n    return 2 * x\n```", "error"),
        ("I cannot.", "no answer"),
        ("def double(x):\n    return 2 * x  # " + "x" * LONGEST_PROGRAM, "refused"),
        ("def double(x):\n    print('x' * 10**6)\n    return '4'", "wrong"),
    ],
)
def test_verdicts_say_why(mbpp: MBPP, reply: str, why: str) -> None:
    verdict = mbpp.grade(mbpp.problems("test")[0], reply)
    assert (verdict.reason, verdict.correct) == (why, why == "right")
    assert (verdict.answer is None) == (why == "no answer")


def test_its_own_solutions_are_right(mbpp: MBPP) -> None:
    problems = [*mbpp.problems("train"), *mbpp.problems("test")]
    assert all(v.correct for v in mbpp.grade_many([(p, p.meta["solution"]) for p in problems]))


def test_lines_are_recognised(mbpp: MBPP) -> None:
    assert mbpp.problem_from_row({"id": "mbpp-11"}).question == "Task 11."
    assert mbpp.problem_from_row({"task_id": 11}).question == "Task 11."
    foreign = mbpp.problem_from_row({**ROW, "task_id": 5000, "text": "Another."})
    assert foreign.question == "Another." and mbpp.grade(foreign, "def double(x): return 2 * x").correct


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task_id": None}, "'task_id'"),
        ({"test_list": []}, "'test_list'"),
        ({"test_list": "assert 1"}, "'test_list' is \"assert 1\""),
        ({"text": 3}, "'text' is 3, not text"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_with_its_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=r"mbpp\.jsonl, line 2: ") as caught:
        MBPP(source=rows(tmp_path, *numbered(11), {**numbered(12)[0], **change}), sandbox="rlimit", **KNOBS)
    assert words in str(caught.value)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    source = rows(tmp_path, *numbered(11))
    with pytest.raises(UserError, match=r"shots=4"):
        MBPP(source=source, sandbox="rlimit", **{**KNOBS, "shots": 4})
    with pytest.raises(UserError, match=r"no row with task_id 2"):
        MBPP(source=source, sandbox="rlimit", **{**KNOBS, "shots": 1})
    with pytest.raises(UserError, match=r"no train problems"):
        MBPP(source=source, sandbox="rlimit", **KNOBS).problems("train")
    with pytest.raises(UserError, match=r"as in an earlier row"):
        MBPP(source=rows(tmp_path, *numbered(11, 11)), sandbox="rlimit", **KNOBS)
    with pytest.raises(UserError, match=r"no such folder.*mbpp\.jsonl"):
        MBPP(source="./nowhere", sandbox="rlimit", **KNOBS)


def test_repair_poses_the_attempts_of_a_file(tmp_path: Path) -> None:
    source = rows(tmp_path, *numbered(11, 12, 601))
    attempts = [{"task_id": 11, "reply": "def double(x): return x"}, {"task_id": 11, "reply": "def double(x): pass"}]
    rows(tmp_path, *attempts, {"id": "mbpp-601", "reply": "?"}, name="attempts.jsonl")
    knobs = {**KNOBS, "first_attempts": str(tmp_path / "attempts.jsonl")}
    task = MBPP(source=source, sandbox="rlimit", **knobs)
    posed = task.problems("test")
    assert [p.id for p in posed] == ["mbpp-11-r1", "mbpp-11-r2"] and len(task.problems("train")) == 1
    question, attempt, request = task.render_prompt(posed[0])
    assert attempt == Message("assistant", attempts[0]["reply"]) and request == Message("user", "Try again.")
    assert question == task.render_prompt(task.problem_from_row({"task_id": 11}))[0]
    assert task.grade(posed[0], "def double(x): return 2 * x").correct
    assert task.provenance["first_attempts"]["rows"] == 3
    graded = [{**one, "correct": right} for one, right in zip(attempts, (True, False), strict=True)]  # as job=grade
    rows(tmp_path, *graded, name="attempts.jsonl")
    assert [p.id for p in MBPP(source=source, sandbox="rlimit", **knobs).problems("test")] == ["mbpp-11-r2"]
    rows(tmp_path, graded[0], name="attempts.jsonl")
    with pytest.raises(UserError, match=r"no incorrect attempt is in it"):
        MBPP(source=source, sandbox="rlimit", **knobs)
    rows(tmp_path, {"task_id": 99, "reply": ""}, name="attempts.jsonl")
    with pytest.raises(UserError, match=r"attempts\.jsonl, line 1: field 'task_id' is 99"):
        MBPP(source=source, sandbox="rlimit", **knobs)


# humaneval ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("```python\ndef total(xs: List[int]):\n    return helper(sum(xs))\n```", "right"),
        ("    return helper(sum(xs))\n", "right"),
        ("return sum(xs) + 1", "right"),
        ("    return sum(xs) + 1\n\nprint(total([1]))\nassert False", "right"),
        ("```python\n    return sum(xs)\n```", "wrong"),
        ("n = 1\nfor x in xs:\n    n += x\nreturn n", "right"),  # all its lines have lost their spaces
        ("```python\nn = sum(\n    xs\n)\nif n:\n    n += 1\n    return n\nreturn 1\n```", "right"),
        ("n = 1\nreturn n + sum(xs)\n\ndef main():\n    print(total([1]))", "right"),
        ("    return sum(xs) + 1\n\ndef main():\n    print(total([1]))\n", "right"),
        (
            '```python\n"""Sum."""\nfrom __future__ import (\n    annotations,\n)\n'
            "def total(xs):\n    return helper(sum(xs))\n```",
            "right",
        ),
        ("return sum(xs) + 1\n\nAs you can see, this will\nreturn the sum of all.", "right"),
        ("```python\nfrom __future__ import annotations\ndef total(xs):\n    return helper(sum(xs))\n```", "right"),
        (
            "```python\ndef add(n):\n    return n + 1\n```\n```python\ndef total(xs):\n    return add(sum(xs))\n```",
            "right",
        ),
        ("def total(xs):\n    return total.__doc__.count('4') + 1", "error"),
        ("    return int(total.__doc__.split()[-1])", "error"),
        ("No.", "no answer"),
    ],
)
def test_programs_and_completions(humaneval: HumanEval, reply: str, why: str) -> None:
    assert humaneval.grade(humaneval.problems("test")[0], reply).reason == why


def test_humaneval_trains_on_mbpp(humaneval: HumanEval, tmp_path: Path) -> None:
    assert isinstance(humaneval, Task)
    (train,) = humaneval.problems("train")
    assert train.meta["task_id"] == 601 and "[BEGIN]" in humaneval.render_prompt(train)[0].content
    assert [p.id for p in humaneval.problems("val")] == ["mbpp-511"]
    (asked,) = humaneval.render_prompt(humaneval.problems("test")[0])
    assert PROMPT.strip() in asked.content and "[BEGIN]" not in asked.content
    assert set(humaneval.provenance) == {"test", "mbpp all"}
    assert humaneval.grade(train, "def double(x): return 2 * x").correct
    assert humaneval.problem_from_row({"task_id": "HumanEval/0"}).id == "HumanEval/0"
    assert humaneval.problem_from_row({"task_id": 601}).id == "mbpp-601"
    knobs = {"shots": 0, "seconds": 2.0, "validation": 0, "test": 1}
    alone = HumanEval(source=str(tmp_path), train=None, sandbox="rlimit", **knobs)
    with pytest.raises(UserError, match=r"task.train=null"):
        alone.problems("train")


def test_the_solution_never_sees_the_docstring(humaneval: HumanEval) -> None:
    problem = humaneval.problems("test")[0]
    assert ">>>" not in problem.meta["given"] + problem.meta["head"]
    assert problem.meta["given"] == "from typing import List\n\ndef helper(x: int) -> int:\n    return x + 1"
    assert problem.meta["head"] == "def total(xs: List[int]) -> int:"
