"""The real MBPP and HumanEval in the sandbox: reference solutions pass, faulty ones fail. Skipped without the data."""

from __future__ import annotations

import ast
import time
from collections import Counter
from pathlib import Path

import pytest

from amend.task.humaneval import HumanEval
from amend.task.mbpp import MBPP
from amend.types import Problem, Verdict

SECONDS = 10.0  # for machines that are busy with other tests


@pytest.fixture(scope="module")
def humaneval(data: Path, bubblewrap: None) -> HumanEval:
    knobs = {"shots": 3, "seconds": SECONDS, "validation": 90, "test": 164}
    return HumanEval(source=str(data), train=None, sandbox="bubblewrap", **knobs)


@pytest.fixture(scope="module")
def mbpp(data: Path, bubblewrap: None) -> MBPP:
    knobs = {"shots": 3, "first_attempts": None, "instruction": "", "seconds": SECONDS, "validation": 90, "test": 500}
    return MBPP(source=str(data), sandbox="bubblewrap", **knobs)


@pytest.fixture(scope="module")
def strict(data: Path, bubblewrap: None) -> HumanEval:
    """For faulty programs, of which some never end."""
    knobs = {"shots": 3, "seconds": 2.0, "validation": 90, "test": 164}
    return HumanEval(source=str(data), train=None, sandbox="bubblewrap", **knobs)


def failures(problems: list[Problem], verdicts: list[Verdict]) -> dict[str, str]:
    return {p.id: v.reason for p, v in zip(problems, verdicts, strict=True) if not v.correct}


def test_all_164_reference_solutions_of_humaneval_pass(
    humaneval: HumanEval, record_property: pytest.RecordProperty
) -> None:
    problems = list(humaneval.problems("test"))
    assert len(problems) == 164
    began = time.perf_counter()
    verdicts = humaneval.grade_many([(p, p.meta["solution"]) for p in problems])
    record_property("ms a program", (time.perf_counter() - began) / len(problems) * 1000)
    assert failures(problems, verdicts) == {}


def test_completions_of_humaneval_pass_too(humaneval: HumanEval) -> None:
    problems = list(humaneval.problems("test"))[::4]
    assert failures(problems, humaneval.grade_many([(p, p.target) for p in problems])) == {}


def everything(mbpp: MBPP) -> list[Problem]:
    return [mbpp.problem_from_row({"task_id": number}) for number in range(1, 975)]


@pytest.mark.heavy
def test_all_974_reference_solutions_of_mbpp_pass(mbpp: MBPP) -> None:
    """Not one failure to explain: where a test needs a module, a class of the solution's, or a type, it has it."""
    problems = everything(mbpp)
    assert [len(mbpp.problems(split)) for split in ("train", "val", "test")] == [374, 90, 500]
    assert failures(problems, mbpp.grade_many([(p, p.meta["solution"]) for p in problems])) == {}


class Nothing(ast.NodeTransformer):
    """Every return gives None."""

    def visit_Return(self, node: ast.Return) -> ast.Return:
        return ast.Return(ast.Constant(None))


class Fault(ast.NodeTransformer):
    """One small fault: the last constant number one larger, else the last comparison or sum turned round."""

    def __init__(self, at: ast.AST) -> None:
        self._at = at

    def visit(self, node: ast.AST) -> ast.AST:
        if node is not self._at:
            return super().generic_visit(node)
        if isinstance(node, ast.Constant):
            return ast.Constant(node.value + 1)
        if isinstance(node, ast.Compare):
            turned = {
                ast.Lt: ast.GtE,
                ast.LtE: ast.Gt,
                ast.Gt: ast.LtE,
                ast.GtE: ast.Lt,
                ast.Eq: ast.NotEq,
                ast.NotEq: ast.Eq,
            }
            return ast.Compare(node.left, [turned.get(type(node.ops[0]), ast.Is)()], node.comparators)
        assert isinstance(node, ast.BinOp)
        return ast.BinOp(node.left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), node.right)  # fmt: skip


def faulty(source: str) -> str | None:
    tree = ast.parse(source)
    places = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and type(n.value) is int]
    places = places or [n for n in ast.walk(tree) if isinstance(n, ast.Compare) and len(n.ops) == 1]
    places = places or [n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Add | ast.Sub)]
    return ast.unparse(ast.fix_missing_locations(Fault(places[-1]).visit(tree))) if places else None


def without(source: str) -> str:
    return ast.unparse(ast.fix_missing_locations(Nothing().visit(ast.parse(source))))


def test_faulty_solutions_of_humaneval_fail(strict: HumanEval, record_property: pytest.RecordProperty) -> None:
    problems = list(strict.problems("test"))
    nothing = [(p, f"```python\n{without(p.question + p.target)}\n```") for p in problems]
    made = {p.id: faulty(p.question + p.target) for p in problems}
    small = [(p, f"```python\n{made[p.id]}\n```") for p in problems if made[p.id]]
    verdicts = strict.grade_many(nothing + small)
    gone, rest = verdicts[: len(nothing)], verdicts[len(nothing) :]
    survived = [p.id for (p, _), v in zip(nothing, gone, strict=True) if v.correct]
    assert survived == []
    killed = Counter(v.correct for v in rest)[False]
    record_property("small faults killed", f"{killed} of {len(rest)}")
    assert len(rest) > 100 and killed >= 0.8 * len(rest)
    print(f"killed: {len(gone)} of {len(gone)} without values, {killed} of {len(rest)} small faults",
          [p.id for (p, _), v in zip(small, rest, strict=True) if v.correct])  # fmt: skip


def test_solutions_of_mbpp_that_return_nothing_fail(mbpp: MBPP) -> None:
    problems = everything(mbpp)[::10]
    replies = [(p, f"{without(p.target)}\n[DONE]") for p in problems]
    passed = [p.id for (p, _), v in zip(replies, mbpp.grade_many(replies), strict=True) if v.correct]
    assert passed == []


def test_a_solution_to_another_problem_is_no_solution(humaneval: HumanEval) -> None:
    problems = list(humaneval.problems("test"))[::4]
    swapped = zip(problems, [*problems[1:], problems[0]], strict=True)
    assert not any(v.correct for v in humaneval.grade_many([(p, other.meta["solution"]) for p, other in swapped]))


def test_what_equals_everything_passes_nothing(humaneval: HumanEval) -> None:
    """Every form of assert that HumanEval has, against an object that is all things to all operators."""
    everything = (
        "class E(int):\n    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = lambda s, o: True\n"
        "    __ne__ = lambda s, o: False\n    __hash__ = lambda s: 0\n"
        "    __abs__ = __sub__ = __rsub__ = __add__ = __mul__ = __getitem__ = lambda s, *o: s\n"
        "    __iter__ = lambda s: iter(())\n    __len__ = lambda s: 0\n"
    )
    problems = list(humaneval.problems("test"))
    replies = [(p, f"```python\n{everything}def {p.meta['entry']}(*a): return E(7919)\n```") for p in problems]
    passed = [p.id for (p, _), v in zip(replies, humaneval.grade_many(replies), strict=True) if v.correct]
    assert passed == []
