"""Two judges, one shown the answer: by hand, and the case that the difference is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from composed import composed

from amend.errors import UserError
from amend.reward import CompositeReward, Reward
from amend.reward.judge_gap import JudgeGap, agreement
from amend.task.identity import Identity
from amend.types import Episode

Build = Callable[..., Episode]
TASK = Identity(symbols=4, test=4)
ZERO, ONE, *_ = TASK.problems("test")


def five(episode: Build) -> list[Episode]:
    """At turn 1 of problem 0: 3, 3, 3 (wrong), 0 (right) and nothing; problem 1 has one sample."""
    said = [("3", "0"), ("3", "0"), ("3", "1"), ("0", "0"), ("", "0")]
    return [*(episode(ZERO, *replies) for replies in said), episode(ONE, "1", "1")]


def test_agreement_is_the_share_of_the_others_with_the_same_answer(episode: Build) -> None:
    expected = [[2 / 4, 3 / 4], [2 / 4, 3 / 4], [2 / 4, 0], [0, 3 / 4], [0, 3 / 4], [0, 0]]
    np.testing.assert_allclose(agreement(TASK, five(episode)), expected)


def test_turns_vote_apart_and_missing_turns_do_not(episode: Build) -> None:
    some = [episode(ZERO, "2", "3"), episode(ZERO, "3", "3"), episode(ZERO, "2")]
    np.testing.assert_allclose(agreement(TASK, some), [[1 / 2, 1], [0, 1], [1 / 2, 0]])
    assert agreement(TASK, []).shape == (0, 0)


def test_replies_without_an_answer_do_not_agree(episode: Build) -> None:
    np.testing.assert_array_equal(agreement(TASK, [episode(ZERO, ""), episode(ZERO, " ")]), [[0], [0]])


def test_the_difference_is_what_convinces_the_blind_judge_alone(episode: Build) -> None:
    shown, blind, difference = (
        JudgeGap(TASK, weight=-0.5, path=None, use=use)(five(episode)) for use in ("shown", "blind", "difference")
    )
    np.testing.assert_array_equal(shown, [[0, 1], [0, 1], [0, 0], [1, 1], [0, 1], [1, 1]])
    np.testing.assert_array_equal(blind, agreement(TASK, five(episode)))
    np.testing.assert_array_equal(difference, blind - shown)
    assert difference[0, 0] > 0 > difference[3, 0]  # a popular mistake, and a right answer nobody else gave


def test_a_negative_weight_fines_the_popular_mistake(episode: Build) -> None:
    part = JudgeGap(TASK, weight=-0.5, path=None, use="difference")
    assert isinstance(part, Reward)
    scored = CompositeReward({"judge_gap": part}, max_failures=0.0)(five(episode))
    assert scored[0].reward == (-0.25, 0.125) and scored[3].reward == (0.5, 0.125)


def test_a_path_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reward\.judge_gap\.path=.*job=train_orm"):
        JudgeGap(TASK, weight=-0.5, path=str(tmp_path), use="blind")


def test_both_values_and_the_difference_are_parts_of_the_log() -> None:
    parts = composed("reward=judge_gap", "reward.judge_gap.path=somewhere").reward
    assert list(parts) == ["oracle", "judge_gap", "blind"]
    assert parts.blind.weight == 0 and parts.blind.path == "somewhere"
