"""STaR by hand: D, D+, what of a trace is learnt, and traces that were made with a hint and hold none."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from datasets import Dataset
from scripted import IMITATION, Line, Stage, always, ready, stage
from toys import LOOP, episode, scored
from trl.data_utils import is_conversational

from amend.algo.star import HINT, STaR
from amend.batch import collate
from amend.types import Scored

KNOBS = {**LOOP, **IMITATION, "keep_correct": False, "rationalise": False, "train_on": "last"}
PAIRS = list(product((0.0, 1.0), repeat=2))  # (0, 0), (0, 1), (1, 0), (1, 1)


def learner(made: Stage, **knobs: Any) -> Any:
    return ready(STaR(*made.handed, **{**KNOBS, **knobs}))


def all_outcomes() -> list[Scored]:
    return [scored(episode([([5], [6]), ([2], [4])], sample=i), pair) for i, pair in enumerate(PAIRS)]


@pytest.mark.parametrize(("keep_correct", "samples"), [(False, [1]), (True, [1, 3])])
def test_d_and_d_plus(keep_correct: bool, samples: list[int]) -> None:
    """Wrong then right; with D+, right then right too. Never what ended wrong."""
    kept = learner(stage(always("0")), keep_correct=keep_correct).select(all_outcomes())
    assert [one.episode.sample for one in kept] == samples


@pytest.mark.parametrize(
    ("learn", "drawn"), [("last", [False, False, False, True]), ("all", [False, True, False, True])]
)
def test_what_of_a_trace_is_learnt(learn: str, drawn: list[bool]) -> None:
    (kept,) = learner(stage(always("0")), train_on=learn).select(all_outcomes())
    assert collate([kept]).loss_mask.tolist() == [drawn]


def told(prompt: str, sample: int, turn: int) -> str:
    """Wrong at all times, but for the first sample of "Say 1" (right at once, then wrong) and where there is a hint."""
    if "Hint" in prompt:
        return prompt.split("the answer is ")[1][0]
    return "1" if "Say 1" in prompt and (sample, turn) == (0, 0) else "x"


def played(line: Line = told, **knobs: Any) -> tuple[Any, Stage]:
    house = stage(line)
    made = learner(house, rationalise=True, num_iterations=1, **knobs)
    made.training_step(house.problems(3), 0)
    return made, house


def test_rationalised_traces_hold_no_hint() -> None:
    """ "Say 0" and "Say 2" failed throughout: their first attempts, corrected as if nothing had been said."""
    made, house = played()
    assert made.kept == []  # they were fitted, and are gone
    assert sum("Hint" in heard for heard in house.engine.heard) == 3
    hint = HINT.format(answer="2")
    assert f"<user>Say 2{hint}<assistant>" in house.engine.heard
    (first, second) = made.data
    assert first == {
        "prompt": [
            {"role": "user", "content": "Say 0"},
            {"role": "assistant", "content": "x"},
            {"role": "user", "content": "Again."},
        ],
        "completion": [{"role": "assistant", "content": "0"}],
    }
    assert second["completion"] == [{"role": "assistant", "content": "2"}]
    assert "Hint" not in str(made.data)


def test_rationalised_tokens_are_those_of_a_conversation_without_a_hint() -> None:
    made, house = played(accumulate_data=True)
    trace = made.kept[0].episode
    text = house.policy.decode(trace.turns[1].prompt + trace.turns[1].reply.tokens)
    assert text == "<user>Say 0<assistant>x<end><user>Again.<assistant>0"
    assert [turn.is_trained for turn in trace.turns] == [False, True]


def test_a_rationalised_trace_that_began_right_is_of_d_plus_only() -> None:
    """ "Say 1" never ended right, though its first sample began so: with the hint it has nothing to correct."""
    assert len(played()[0].data) == 2
    assert len(played(keep_correct=True)[0].data) == 3


def test_a_problem_with_a_right_trace_is_not_asked_again() -> None:
    """The third sample of each problem corrects itself."""
    right = {"Say 0": "0", "Say 1": "1", "Say 2": "2"}

    def line(prompt: str, sample: int, turn: int) -> str:
        return right[prompt[6:11]] if (sample, turn) == (2, 1) else "x"

    made, house = played(line)
    assert not [heard for heard in house.engine.heard if "Hint" in heard]
    assert len(made.data) == 3


def test_a_hint_that_does_not_help_teaches_nothing() -> None:
    made, _ = played(always("x"))
    assert made.data == []


def test_what_the_hints_cost_is_on_the_bill() -> None:
    """Three problems, four samples of two turns, and three replies with a hint: two tokens each, the end among them."""
    made, _ = played()
    assert made.counters["sampled_tokens"] == 2 * (3 * 4 * 2 + 3)


def test_the_data_is_trls() -> None:
    rows = Dataset.from_list(played()[0].data)
    assert rows.column_names == ["prompt", "completion"] and is_conversational(rows[0])
    both = Dataset.from_list(played(train_on="all")[0].data)
    assert both.column_names == ["messages"] and is_conversational(both[0])
    assert [m["role"] for m in both[0]["messages"]] == ["user", "assistant"] * 2
