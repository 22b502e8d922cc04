"""Starts: who begins a first reply, steps that join to the whole, and a start that moves back once the end is easy."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import completion
from transformers import AutoTokenizer

from amend.config.schema import PACKAGE
from amend.errors import UserError
from amend.exploration.prefill import BaseAttempt, NoPrefill, PartialSolution, PrefillStrategy
from amend.solution_steps import split_steps
from amend.task.dataset.problem_families import FAMILIES
from amend.task.dataset.procedural_math import Builtin
from amend.types import Episode, Prefill, Problem, Scored, Turn

LINES = "First.\n\nSecond; or so.\n  Third: \\boxed{3}"


def problem(solution: str = LINES, subject: str = "Algebra", name: str = "p") -> Problem:
    """A problem with a solution."""
    return Problem(name, "question", "3", {"subject": subject, "solution": solution})


def outcome(problem: Problem, right: Sequence[bool]) -> list[Scored]:
    """One scored episode of two turns a sample; turn 2 is the opposite of turn 1, and must not count."""
    turns = (Turn((1,), completion([2])), Turn((1, 2, 3), completion([4])))
    return [Scored(Episode(problem, i, turns), (float(r), float(not r)), {}) for i, r in enumerate(right)]


def openings(start: PrefillStrategy, problem: Problem, samples: int) -> list[str]:
    """What each sample of a problem is given."""
    return [start(problem, sample, samples).given for sample in range(samples)]


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        (LINES, ["First.\n\n", "Second; or so.\n", "  Third: \\boxed{3}"]),
        ("One line.\n", ["One", " line.\n"]),
        ("\n \nOne line", ["\n \nOne", " line"]),
        ("So x = 3.5. Then y; z", ["So x = 3.5.", " Then y;", " z"]),
        ("x=3: 8*3=24+3=27 ok \\boxed{3}", ["x=3: 8*3=24+3=27", " ok", " \\boxed{3}"]),
        ("7*13=91 ok \\boxed{7*13}", ["7*13=91", " ok", " \\boxed{7*13}"]),
        ("word", ["word"]),
    ],
)
def test_steps_by_hand(solution: str, expected: list[str]) -> None:
    assert split_steps(solution) == expected


@given(st.text(alphabet="ab.;:, \n\t\r!?\\é\u2028\x1c", max_size=60))
def test_steps_join_to_the_solution(solution: str) -> None:
    pieces = split_steps(solution)
    assert "".join(pieces) == solution
    assert len(pieces) == 1 or all(piece.strip() for piece in pieces)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_given_tokens_and_drawn_tokens_are_those_of_the_whole_solution(family: str) -> None:
    """In the built-in vocabulary, " ok" and " \\boxed{" are tokens: a beginning must not end in their space."""
    tokenizer = AutoTokenizer.from_pretrained(PACKAGE / "policy" / "tiny")
    task = Builtin(families=[family], levels=[1, 5], validation=1, test=1)
    for index in range(20):
        pieces = split_steps(task.problem("train", index).meta["solution"])
        assert len(pieces) == 3
        for cut in (1, 2):
            begun, left = (tokenizer("".join(part))["input_ids"] for part in (pieces[:cut], pieces[cut:]))
            assert begun + left == tokenizer("".join(pieces))["input_ids"]


def test_fresh_hands_nothing_in() -> None:
    assert isinstance(NoPrefill(), PrefillStrategy)
    assert NoPrefill()(problem(), 0, 4) == Prefill("", False)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.05, 0), (0.5, 4), (0.6, 5), (1.0, 8)])
def test_offline_is_the_first_share_of_each_problems_episodes(share: float, expected: int) -> None:
    start = BaseAttempt(share=share)
    assert isinstance(start, PrefillStrategy)
    assert [start(problem(), i, 8) for i in range(8)] == [Prefill("", i < expected) for i in range(8)]


def test_backtracking_moves_back_a_step_at_a_time_until_nothing_is_given() -> None:
    start = PartialSolution(threshold=0.5, window=4, mix=0.0)
    assert isinstance(start, PrefillStrategy)
    for expected in ("First.\n\nSecond; or so.\n", "First.\n\n", "", ""):
        assert openings(start, problem(), 4) == [expected] * 4
        start.observe(outcome(problem(), [True, True, True, False]))  # 3/4 > threshold
    assert start.state_dict()["left"] == {"Algebra": 3}  # once nothing is given, nothing moves


def test_the_rate_must_exceed_the_threshold_over_a_full_window() -> None:
    start = PartialSolution(threshold=0.5, window=4, mix=0.0)
    for right, moved in (([True, True], False), ([False, False], False), ([True, True, True], True)):
        openings(start, problem(), len(right))
        start.observe(outcome(problem(), right))
        # 2 of 2 (too few), 2 of 4 (not more than half), then the last four: 3 of 4
        assert start.state_dict()["left"] == ({"Algebra": 2} if moved else {})
    openings(start, problem(), 3)
    start.observe(outcome(problem(), [True] * 3))
    assert start.state_dict()["left"] == {"Algebra": 2}  # the old distance's successes are no evidence for the new one


def test_each_subject_goes_at_its_own_pace() -> None:
    start = PartialSolution(threshold=0.5, window=2, mix=0.0)
    easy, hard = problem(subject="Algebra", name="a"), problem(subject="Geometry", name="g")
    for one in (easy, hard):
        openings(start, one, 2)
    start.observe([*outcome(easy, [True, True]), *outcome(hard, [False, False])])
    assert openings(start, easy, 1) == ["First.\n\n"]
    assert openings(start, hard, 1) == ["First.\n\nSecond; or so.\n"]


def test_a_share_begins_from_nothing_and_is_no_evidence() -> None:
    start = PartialSolution(threshold=0.5, window=2, mix=0.5)
    given_ = "First.\n\nSecond; or so.\n"
    assert openings(start, problem(), 4) == ["", "", given_, given_]
    start.observe(outcome(problem(), [True, True, False, False]))  # right where nothing was given
    assert openings(start, problem(), 4) == ["", "", given_, given_]
    start.observe(outcome(problem(), [False, False, True, True]))
    assert openings(start, problem(), 4) == ["", "", "First.\n\n", "First.\n\n"]


def test_an_episode_of_an_earlier_round_is_no_evidence_twice() -> None:
    start = PartialSolution(threshold=0.5, window=2, mix=0.0)
    openings(start, problem(), 1)
    start.observe(outcome(problem(), [True]))
    start.observe(outcome(problem(), [True]))
    assert start.state_dict() == {"left": {}, "recent": {"Algebra": [True]}}


def test_a_step_that_boxes_the_answer_is_never_given() -> None:
    start = PartialSolution(threshold=0.5, window=2, mix=0.0)
    assert openings(start, problem("So it is\n\\boxed{3}\nas was\nto be shown"), 1) == ["So it is\n"]


def test_a_problem_without_a_solution_is_refused() -> None:
    start = PartialSolution(threshold=0.5, window=2, mix=0.5)
    for meta in ({}, {"solution": ""}):
        with pytest.raises(UserError, match="prefill=partial_solution: problem q has no solution"):
            start(Problem("q", "question", "3", meta), 3, 4)


def test_resuming_goes_on_from_where_it_was() -> None:
    """Killed after any round and gone on with from what a checkpoint holds: as if never stopped."""
    rounds = [[True, False], [True, True], [True, True], [False, True]]

    def play(start: PartialSolution, right: Sequence[bool]) -> list[str]:
        said = openings(start, problem(), len(right))
        start.observe(outcome(problem(), right))
        return said

    whole = PartialSolution(threshold=0.6, window=3, mix=0.0)
    kept = [pickle.dumps(whole.state_dict())]
    said = []
    for right in rounds:
        said.append(play(whole, right))
        kept.append(pickle.dumps(whole.state_dict()))
    assert whole.state_dict()["left"] == {"Algebra": 3}  # it moved twice: after the second round and after the fourth
    for killed in range(len(rounds)):
        again = PartialSolution(threshold=0.6, window=3, mix=0.0)
        again.load_state_dict(pickle.loads(kept[killed]))
        assert [play(again, right) for right in rounds[killed:]] == said[killed:]
        assert again.state_dict() == whole.state_dict()


def test_what_is_remembered_is_not_changed_afterwards() -> None:
    start = PartialSolution(threshold=0.5, window=4, mix=0.0)
    openings(start, problem(), 1)
    start.observe(outcome(problem(), [True]))
    kept = start.state_dict()
    openings(start, problem(), 1)
    start.observe(outcome(problem(), [False]))
    assert kept["recent"] == {"Algebra": [True]}
