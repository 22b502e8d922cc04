"""The built-in problems against a solver that shares nothing with them, and against any string at all."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amend.errors import UserError
from amend.task.dataset.problem_families import FAMILIES
from amend.task.dataset.procedural_math import Builtin
from amend.task.dataset.splits import part
from amend.types import Problem

NAMES = ["solve", "factor", "pair", "sum", "target"]


def builtin(**other: object) -> Builtin:
    knobs: dict[str, object] = {"families": NAMES, "levels": [1, 2, 3, 4, 5], "validation": 200, "test": 1000, **other}
    return Builtin(**knobs)  # type: ignore[arg-type]


TASK = builtin()
PROBLEMS = TASK.problems("test")


def expressions(numbers: list[int]) -> Iterator[tuple[str, Fraction]]:
    """Every expression that uses each number once, fully parenthesised, with its value."""
    if len(numbers) == 1:
        yield str(numbers[0]), Fraction(numbers[0])
        return
    for order in set(permutations(numbers)):
        for cut in range(1, len(order)):
            for (a, x), (b, y) in product(expressions(list(order[:cut])), expressions(list(order[cut:]))):
                yield f"({a}+{b})", x + y
                yield f"({a}-{b})", x - y
                yield f"({a}*{b})", x * y
                if y:
                    yield f"({a}/{b})", x / y


def solutions(question: str) -> tuple[set[str], set[str]]:
    """All right answers that brute force finds, read from the question's words alone, and as many wrong ones."""
    n = [int(text) for text in re.findall(r"[0-9]+", question)]
    if question.startswith("Solve"):
        tried = {str(x): n[0] * x + n[1] == n[2] for x in range(-50, 200)}
    elif question.startswith("Write"):
        tried = {f"{p}*{q}": p * q == n[0] for p in range(2, 45) for q in range(2, 45)}
        tried |= {f"1*{n[0]}": False, f"{n[0]}*1": False}
    elif question.startswith("Find"):
        tried = {f"{p},{q}": p + q == n[0] and p * q == n[1] for p in range(-5, 60) for q in range(-5, 60)}
    elif question.startswith("Compute"):
        wanted = n[0] + n[1] if "+" in question else n[0] - n[1]
        tried = {str(c): c == wanted for c in range(-50, 1000)}
    else:
        tried = {text[1:-1]: value == n[0] for text, value in expressions(n[1:])}
    return {a for a, right in tried.items() if right}, {a for a, right in tried.items() if not right}


def boxed(answer: str) -> str:
    return f"because \\boxed{{{answer}}}"


@pytest.mark.parametrize("name", NAMES)
def test_the_checker_agrees_with_brute_force(name: str) -> None:
    """Every candidate of forty problems a family: right exactly where an independent solver says so."""
    for problem in [p for p in PROBLEMS if p.meta["family"] == name][:40]:
        right, wrong = solutions(problem.question)
        assert right, problem.question
        assert problem.target in right or name == "target"
        for answer in right:
            assert TASK.grade(problem, boxed(answer)).correct, (problem.question, answer)
        for answer in wrong:
            assert not TASK.grade(problem, boxed(answer)).correct, (problem.question, answer)


def test_gold_and_worked_solution_are_right_for_every_test_problem() -> None:
    for problem in PROBLEMS:
        assert TASK.grade(problem, boxed(problem.target)).correct
        assert TASK.grade(problem, problem.meta["solution"]).correct
        assert " ok " in problem.meta["solution"]


@pytest.mark.parametrize("name", NAMES)
def test_a_near_miss_is_wrong_and_its_check_says_by_how_much(name: str) -> None:
    family, rng = FAMILIES[name], np.random.default_rng(0)
    for level in (1, 2, 3, 4, 5):
        for _ in range(40):
            facts = family.sample(rng, level)
            near = family.near_miss(facts, rng)
            assert not family.is_right(facts, near)
            _, value, wanted = family.value(facts, near)
            said = re.search(r" (\d+) (low|high) ", family.solution(facts, near))
            assert said is not None
            assert int(said[1]) == abs(value - wanted) and (said[2] == "low") == (value < wanted)


@pytest.mark.parametrize(
    ("question", "answer", "right"),
    [
        ("target", "5 * (9 - 3) ", True), ("target", "((9-3)*5)", True), ("target", "9-3*5", False),
        ("target", "30", False), ("target", "5*6", False), ("target", "(9-3)*5*1", False), ("target", "--30", False),
        ("target", "9**3", False), ("target", "[9,3,5]", False), ("target", "(9-3)*5 if 1 else 0", False),
        ("target", "(9-3)*05", False), ("target", "9/(3-3)*5", False), ("target", "(((((((9-3)*5)))))))", False),
        ("factor", "7*13", True), ("factor", "13 * 7", True), ("factor", "91*1", False), ("factor", "-7*-13", False),
        ("factor", "7*13*1", False), ("factor", "٧*13", False), ("solve", "x=14", True), ("solve", "+14", True),
        ("solve", "014", True), ("solve", "1_4", False), ("solve", "14.0", False), ("solve", "1e1", False),
        ("pair", "(7,5)", True), ("pair", "5, 7", True), ("pair", "5,7,0", False), ("pair", "", False),
    ],
)  # fmt: skip
def test_accepted_syntax(question: str, answer: str, right: bool) -> None:
    """Plain integers, expressions of + - * / and parentheses, in ASCII; order and spaces do not matter."""
    facts = {"target": (3, 5, 9, 30), "factor": (7, 13, 91), "solve": (3, 7, 49), "pair": (5, 7, 12, 35)}[question]
    assert FAMILIES[question].is_right(facts, answer) is right


hostile = st.one_of(
    st.text(max_size=200),
    st.text(alphabet="0123456789+-*/() ,x=\\boxed{}", max_size=100),
    st.sampled_from(
        ["(" * 60, "9" * 64, "9**9**9", "\x00", "1/0", "{" * 99, "\\boxed{" * 50, "٣", "1" + "0" * 5000, "-" * 63]
    ),
)


@given(hostile, st.sampled_from(NAMES), st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_checker_is_total(text: str, name: str, in_a_box: bool) -> None:
    problem = next(p for p in PROBLEMS if p.meta["family"] == name)
    verdict = TASK.grade(problem, boxed(text) if in_a_box else text)
    assert verdict.reason in ("right", "wrong", "no answer")
    assert verdict.correct == (verdict.reason == "right")


@pytest.mark.parametrize("text", ["(" * 100_000, "\\boxed{" * 20_000, "\\boxed{" + "1+" * 50_000 + "1}", "}" * 100_000])
def test_a_long_reply_costs_little(text: str) -> None:
    began = time.perf_counter()
    for name in NAMES:
        assert not TASK.grade(next(p for p in PROBLEMS if p.meta["family"] == name), text).correct
    assert time.perf_counter() - began < 5


def test_splits_share_no_question() -> None:
    train = {TASK.problems("train")[i].question for i in range(5_000)}
    test, val = ({p.question for p in TASK.problems(split)} for split in ("test", "val"))  # type: ignore[arg-type]
    assert len(test) == 1000 and len(val) == 200
    assert not train & test and not train & val and not test & val
    assert {part(question) for question in train} == {"train"}


def test_fixed_sets_are_fixed_and_smaller_ones_are_their_beginning() -> None:
    assert list(builtin().problems("test")) == list(PROBLEMS)
    assert list(builtin(test=50).problems("test")) == list(PROBLEMS[:50])
    assert len({p.id for p in PROBLEMS}) == 1000


def test_neighbouring_indices_are_independent_draws() -> None:
    """No run of problems repeats one beside it, as seeds that are added instead of mixed would."""
    drawn = [TASK.problem("train", i) for i in range(500)]
    assert sum(a.question == b.question for a, b in pairwise(drawn)) <= 2
    assert {p.meta["level"] for p in drawn} == {1, 2, 3, 4, 5}
    assert len({p.meta["subject"] for p in drawn}) == 5


@pytest.mark.parametrize("name", NAMES)
def test_higher_levels_have_larger_numbers(name: str) -> None:
    rng = np.random.default_rng(1)
    sizes = [np.mean([max(map(abs, FAMILIES[name].sample(rng, level))) for _ in range(2000)]) for level in range(1, 6)]
    assert sizes == sorted(sizes)


def test_what_cannot_be_is_said_in_one_line() -> None:
    for knobs, words in (
        ({"families": ["solv"]}, "task.families"),
        ({"levels": [6]}, "task.levels"),
        ({"families": ["factor"], "levels": [1]}, "only"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            builtin(**knobs).problems("test")
        assert "\n" not in str(caught.value)


def test_several_answers_can_be_right() -> None:
    many = [p for p in PROBLEMS if p.meta["family"] == "target" and len(solutions(p.question)[0]) > 4]
    assert len(many) > 20


def test_any_problem_can_be_made_again_from_its_id() -> None:
    problem: Problem = PROBLEMS[7]
    assert TASK.problem("test", int(problem.id.rsplit("-", 1)[1])) == problem
