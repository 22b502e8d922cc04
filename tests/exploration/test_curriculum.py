"""Curricula: uniform picks are the run's of old; the replay distribution by hand; a resumed one picks the same."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amend.errors import UserError
from amend.exploration.curriculum import PLR, Curriculum, Uniform

ENDLESS = 2**62
KNOBS: dict[str, Any] = {
    "score": "variance",
    "replay_prob": 0.5,
    "staleness_coef": 0.1,
    "score_temperature": 0.1,
    "capacity": 100,
}


def plr(**knobs: Any) -> PLR:
    """A curriculum with some knobs of its own."""
    return PLR(**KNOBS | knobs)


def solved(*counts: int, n: int = 4) -> np.ndarray:
    """Rewards of n episodes of each problem, so many of them 1."""
    return np.array([[1.0] * count + [0.0] * (n - count) for count in counts])


@pytest.mark.parametrize("available", [5, 12_000, 2**20, 2**31 - 1])
def test_uniform_is_a_plain_draw_by_seed_and_round(available: int) -> None:
    rng = np.random.default_rng(np.random.SeedSequence([3, 7]))
    plain = rng.choice(available, size=5, replace=False) if available < 2**20 else rng.integers(available, size=5)
    assert isinstance(Uniform(), Curriculum)
    assert Uniform().pick(available, 5, (3, 7)) == plain.tolist()
    if available > 5:
        assert Uniform().pick(available, 5, (3, 8)) != plain.tolist() != Uniform().pick(available, 5, (4, 7))


def test_a_split_that_is_too_small_is_said_to_be() -> None:
    with pytest.raises(UserError, match=r"algo\.groups_per_batch=6: .* has 5; allowed: at most 5"):
        Uniform().pick(5, 6, (0, 0))
    known = plr(replay_prob=0.5)
    known.observe([0, 1, 2], solved(1, 2, 3))
    with pytest.raises(UserError, match=r"algo\.groups_per_batch=6: .* has 5; allowed: at most 5"):
        known.pick(5, 6, (0, 1))


def test_probabilities_by_hand() -> None:
    """Solved 2, 0, 1 and 3 times of 4: variances 4/16, 0, 3/16, 3/16, so ranks 1, 4, 2, 2; then 0 and 2 again."""
    known = plr(staleness_coef=0.25, score_temperature=0.5)
    known.observe([10, 11, 12, 13], solved(2, 0, 1, 3))
    by_rank = np.array([1, 1 / 16, 1 / 4, 1 / 4]) / (25 / 16)
    np.testing.assert_allclose(known.probabilities(), 0.75 * by_rank + 0.25 * np.full(4, 1 / 4))  # all equally stale
    known.observe([10, 12], solved(4, 1))  # 10 is mastered: variances 0, 0, 3/16, 3/16; staleness 0, 1, 0, 1
    by_rank = np.array([1 / 9, 1 / 9, 1, 1]) / (20 / 9)
    np.testing.assert_allclose(known.probabilities(), 0.75 * by_rank + 0.25 * np.array([0, 0.5, 0, 0.5]))
    known.observe([12], solved(1))  # staleness 1, 2, 0, 2
    np.testing.assert_allclose(known.probabilities(), 0.75 * by_rank + 0.25 * np.array([0.2, 0.4, 0, 0.4]))


def test_regret_by_hand() -> None:
    """Best less mean of 2, 0, 1 and 3 solved of 4: 1/2, 0, 3/4, 1/4. Never solved has none to regret."""
    known = plr(score="regret", staleness_coef=0.0, score_temperature=1.0)
    known.observe([10, 11, 12, 13], solved(2, 0, 1, 3))
    np.testing.assert_allclose(known.probabilities(), np.array([1 / 2, 1 / 4, 1, 1 / 3]) / (25 / 12))


def test_picks_follow_the_probabilities() -> None:
    """One replayed problem a round, over 4,000 rounds: frequencies within four standard errors of P."""
    known = plr(replay_prob=1.0, staleness_coef=0.25, score_temperature=0.5)
    known.observe([0, 1, 2, 3], solved(2, 0, 1, 3))
    problem_indices = [known.pick(ENDLESS, 1, (0, round_))[0] for round_ in range(4000)]
    expected = known.probabilities()
    seen = np.bincount(problem_indices, minlength=4) / len(problem_indices)
    assert (np.abs(seen - expected) < 4 * np.sqrt(expected * (1 - expected) / len(problem_indices))).all()


def test_a_small_beta_takes_the_highest_scores() -> None:
    for beta in (0.02, 0.001):  # the latter leaves all but the first rank a share too small for a float
        known = plr(replay_prob=1.0, staleness_coef=0.0, score_temperature=beta)
        known.observe(list(range(8)), solved(0, 2, 4, 0, 2, 4, 1, 0))
        assert sorted(known.pick(ENDLESS, 2, (0, 1))) == [1, 4]
        assert sorted(known.pick(ENDLESS, 8, (0, 1))) == list(range(8))


def test_equal_scores_share_a_rank_whatever_the_rounding() -> None:
    """With six episodes, p (1 - p) of 1/6 and of 5/6 are equal only on paper."""
    known = plr(staleness_coef=0.0, score_temperature=0.01)
    known.observe([0, 1], solved(1, 5, n=6))
    np.testing.assert_array_equal(known.probabilities(), [0.5, 0.5])


def test_a_share_of_a_round_is_replayed_and_the_rest_is_unknown() -> None:
    known = plr(replay_prob=0.25)
    assert known.pick(120, 8, (0, 0)) == Uniform().pick(120, 8, (0, 0))  # nothing is known: all new
    known.observe(list(range(100)), np.tile([1.0, 0.0], (100, 1)))
    for round_ in range(20):
        problem_indices = known.pick(120, 8, (0, round_))
        assert [pick < 100 for pick in problem_indices] == [True] * 2 + [False] * 6


def test_once_all_is_known_the_rest_is_drawn_from_what_is_not_replayed() -> None:
    known = plr(replay_prob=0.5)
    known.observe(list(range(6)), solved(0, 1, 2, 3, 4, 0))
    assert sorted(known.pick(6, 6, (0, 1))) == list(range(6))


@given(
    available=st.sampled_from([8, 9, 40, 2**20, ENDLESS]),
    replay=st.floats(0, 1),
    staleness=st.floats(0, 1),
    beta=st.floats(0.001, 10),
    capacity=st.integers(1, 20),
    rounds=st.integers(1, 6),
)
def test_picks_are_distinct_within_the_split_and_remembered_within_capacity(
    available: int, replay: float, staleness: float, beta: float, capacity: int, rounds: int
) -> None:
    known = plr(replay_prob=replay, staleness_coef=staleness, score_temperature=beta, capacity=capacity)
    for round_ in range(rounds):
        problem_indices = known.pick(available, 8, (1, round_))
        assert len(problem_indices) == len(set(problem_indices)) == 8
        assert all(0 <= pick < available for pick in problem_indices)
        known.observe(problem_indices, solved(*(pick % 5 for pick in problem_indices)))
        assert len(known.state_dict()["known"]) <= capacity


def test_the_least_valuable_are_forgotten_and_of_equals_the_stalest() -> None:
    known = plr(capacity=3)
    known.observe([0, 1, 2], solved(2, 4, 1))
    known.observe([3], solved(0))
    assert [index for index, *_ in known.state_dict()["known"]] == [0, 2, 3]  # 1 and 3 are worth nothing, 1 is older
    known.observe([4], solved(3))
    assert [index for index, *_ in known.state_dict()["known"]] == [0, 2, 4]


def test_resuming_reproduces_every_pick() -> None:
    """Killed after any round and gone on with from what a checkpoint holds, by way of plain values alone."""
    whole = plr()
    history, memories = [], []
    for round_ in range(6):
        memories.append(pickle.dumps(whole.state_dict()))
        history.append(whole.pick(ENDLESS, 8, (5, round_)))
        whole.observe(history[-1], solved(*(pick % 5 for pick in history[-1])))
    for killed in range(6):
        again = plr()
        again.load_state_dict(pickle.loads(memories[killed]))
        for round_ in range(killed, 6):
            problem_indices = again.pick(ENDLESS, 8, (5, round_))
            assert problem_indices == history[round_]
            again.observe(problem_indices, solved(*(pick % 5 for pick in problem_indices)))


def test_picking_twice_changes_nothing() -> None:
    known = plr()
    known.observe([3, 4, 5], solved(1, 2, 3))
    assert known.pick(ENDLESS, 4, (0, 1)) == known.pick(ENDLESS, 4, (0, 1))
