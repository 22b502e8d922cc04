"""Adding parts up, and law 6: a part that fails is counted, named and neutral, and past a share the run stops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from amend.errors import UserError
from amend.reward import CompositeReward
from amend.reward.oracle import Oracle
from amend.reward.progress import Progress
from amend.task.identity import Identity
from amend.types import Episode, Problem, Verdict

Build = Callable[..., Episode]
TASK = Identity(symbols=4, test=4)
ZERO, ONE, *_ = TASK.problems("test")


class Fragile:
    """A part that breaks on episodes whose first reply says so, else pays by the length of each reply."""

    weight = 0.5

    def __call__(self, episodes: Sequence[Episode]) -> np.ndarray:
        said = [[turn.reply.text for turn in episode.turns] for episode in episodes]
        if any("break" in replies[0] for replies in said):
            raise ZeroDivisionError("division by zero")
        return np.array([[np.nan if "nan" in text else float(len(text)) for text in replies] for replies in said])


def test_the_reward_is_the_weighted_sum_of_its_parts(episode: Build) -> None:
    score = CompositeReward(
        {"oracle": Oracle(TASK, weight=2.0), "progress": Progress(TASK, weight=0.1, shaping_coef=10.0)},
        max_failures=0.0,
    )
    corrected, kept = score([episode(ZERO, "x", "0"), episode(ONE, "1", "1")])
    assert corrected.reward == (0.0, 3.0) and kept.reward == (2.0, 2.0)
    assert corrected.parts == {"oracle": (0.0, 1.0), "progress": (0.0, 10.0)}
    assert corrected.episode.problem is ZERO
    assert score.failures == {"oracle": 0, "progress": 0}


def test_a_reply_whose_test_cannot_be_run_is_a_failure_and_no_silent_zero(episode: Build) -> None:
    class Untested(Identity):
        def grade(self, problem: Problem, reply: str) -> Verdict:
            return Verdict(None, False, "untested") if reply == "?" else super().grade(problem, reply)

    score = CompositeReward({"oracle": Oracle(Untested(symbols=4, test=4), weight=1.0)}, max_failures=0.5)
    scored = score([episode(ZERO, "0"), episode(ZERO, "?"), episode(ZERO, "1")])
    assert score.failures == {"oracle": 1} and scored[1].failed and scored[1].reward == (0.5,)


class Beside(Fragile):
    """Breaks in the same way, else pays an episode by how many of its problem are judged with it."""

    def __call__(self, episodes: Sequence[Episode]) -> np.ndarray:
        super().__call__(episodes)
        names = [episode.problem.id for episode in episodes]
        return np.array([[float(names.count(name))] for name in names])


def test_where_one_problem_fails_the_others_episodes_are_still_judged_together(episode: Build) -> None:
    score = CompositeReward({"beside": Beside()}, max_failures=0.5)
    scored = score([episode(ZERO, "0"), episode(ONE, "break"), episode(ZERO, "1"), episode(ONE, "1")])
    assert [one.reward for one in scored] == [(1.0,), (0.5,), (1.0,), (0.5,)]  # half of 2, 1 and 2; 1 stands in for it
    assert [one.failed for one in scored] == [False, True, False, False]


class Dense(Fragile):
    """Pays 1 on the way to each token of what does not break."""

    def token_rewards(self, episodes: Sequence[Episode]) -> list[np.ndarray]:
        return [np.ones(sum(sum(turn.loss_mask) for turn in episode.turns)) for episode in episodes]


def test_what_failed_is_paid_nothing_on_the_way(episode: Build) -> None:
    fine, failed, other = CompositeReward({"dense": Dense()}, max_failures=0.5)(
        [episode(ZERO, "0"), episode(ZERO, "break"), episode(ZERO, "12")]
    )
    assert sum(fine.token_rewards) > 0 and sum(failed.token_rewards) == 0
    assert failed.reward[0] == pytest.approx((fine.reward[0] + other.reward[0]) / 2)


def test_each_episode_has_as_many_rewards_as_turns(episode: Build) -> None:
    scored = CompositeReward({"oracle": Oracle(TASK, weight=1.0)}, max_failures=0.0)(
        [episode(ZERO, "0"), episode(ONE, "x", "1")]
    )
    assert [one.reward for one in scored] == [(1.0,), (0.0, 1.0)]


def test_a_failure_is_counted_named_and_has_no_credit_in_its_group(
    episode: Build, caplog: pytest.LogCaptureFixture
) -> None:
    parts = {"oracle": Oracle(TASK, weight=1.0), "fragile": Fragile()}
    score = CompositeReward(parts, max_failures=0.5)
    group = [episode(ZERO, "0", "0"), episode(ZERO, "break", "0"), episode(ZERO, "xyz", "x"), episode(ONE, "1", "1")]
    with caplog.at_level(logging.WARNING):
        scored = score(group)
    assert score.failures == {"oracle": 0, "fragile": 1}
    assert "reward.fragile failed on 1 of 4 episodes" in caplog.text and "ZeroDivisionError" in caplog.text
    rewards = np.array([one.reward for one in scored[:3]])
    np.testing.assert_allclose(rewards[1], rewards[[0, 2]].mean(axis=0))  # leave-one-out credit: none
    np.testing.assert_allclose(rewards[1], rewards.mean(axis=0))  # group-mean credit: none
    assert scored[0].reward == (1.5, 1.5)  # its neighbours have what they would have had
    assert scored[3].parts["fragile"] == (1.0, 1.0)
    assert np.isfinite(rewards).all()
    score(group[2:])
    assert score.failures == {"oracle": 0, "fragile": 0}  # of the last call


def test_a_group_that_failed_as_a_whole_is_all_equal(episode: Build) -> None:
    score = CompositeReward({"fragile": Fragile()}, max_failures=0.5)
    scored = score([episode(ZERO, "break"), episode(ZERO, "break!"), episode(ONE, "1"), episode(ONE, "111")])
    assert [one.reward for one in scored] == [(1.0,), (1.0,), (0.5,), (1.5,)]


def test_what_is_not_finite_or_has_another_shape_is_a_failure_too(episode: Build) -> None:
    score = CompositeReward({"fragile": Fragile()}, max_failures=0.5)
    scored = score([episode(ZERO, "nan"), episode(ZERO, "ab"), episode(ZERO, "ab")])
    assert score.failures == {"fragile": 1} and scored[0].reward == (1.0,)

    class Flat(Fragile):
        def __call__(self, episodes: Sequence[Episode]) -> np.ndarray:
            return np.zeros(len(episodes))

    with pytest.raises(UserError, match=r"returned shape \(1,\) for 1 episodes of 1 turns"):
        CompositeReward({"flat": Flat()}, max_failures=0.5)([episode(ZERO, "0")])


def test_past_the_allowed_share_the_run_stops_with_advice(episode: Build) -> None:
    score = CompositeReward({"fragile": Fragile()}, max_failures=0.25)
    score([episode(ZERO, "break"), *[episode(ZERO, "0")] * 3])  # a quarter is allowed
    with pytest.raises(
        UserError, match=r"2 of 4 .*error_rate=0.25 allows .*fragile: ZeroDivisionError: .*fix that component"
    ):
        score([episode(ZERO, "break"), episode(ONE, "break"), *[episode(ZERO, "0")] * 2])
    with pytest.raises(UserError, match="1 of 1"):  # nothing is left to learn from
        CompositeReward({"fragile": Fragile()}, max_failures=1.0)([episode(ZERO, "break")])


def test_what_only_the_user_can_mend_and_interrupts_pass_through(episode: Build) -> None:
    for error in (UserError("the grader's workers do not run"), KeyboardInterrupt()):

        class Stops(Fragile):
            def __call__(self, episodes: Sequence[Episode], error: BaseException = error) -> np.ndarray:
                raise error

        with pytest.raises(type(error)):
            CompositeReward({"stops": Stops()}, max_failures=1.0)([episode(ZERO, "0")])


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UserError, match="there is no component"):
        CompositeReward({}, max_failures=0.0)
    with pytest.raises(UserError, match=r"trainer.max_reward_error_rate=1\.5"):
        CompositeReward({"fragile": Fragile()}, max_failures=1.5)
