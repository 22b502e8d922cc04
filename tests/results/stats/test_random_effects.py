"""Few seeds: coverage by simulation, the layout's mean squares by hand, and that the numbers asked for would do."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from reference_statistics import crossed_bootstrap

from amend.results.stats.power_analysis import (
    describe_sample_size,
    required_for_difference,
    required_sample_size,
    required_seeds,
    verdict,
)
from amend.results.stats.random_effects import MeanSquares, mean_squares, seed_difference, seed_interval, seed_p


def drawn(rng, seeds, problems, between, mean=0.1, difficulty=None):
    """Seeds that truly differ by ``between``, problems by 0.3, and noise of 0.2."""
    b = rng.normal(0, 0.3, problems) if difficulty is None else difficulty
    return mean + rng.normal(0, between, (seeds, 1)) + b + rng.normal(0, 0.2, (seeds, problems))


def test_mean_squares_by_hand():
    m = mean_squares(np.array([[1.0, 2.0], [3.0, 8.0]]))  # rows 1.5, 5.5; columns 2, 5; whole 3.5; rest +-1
    assert (m.seed, m.problem, m.rest) == pytest.approx((2 * 8.0, 2 * 4.5, 4.0))


@pytest.mark.parametrize("between", [0.0, 0.02, 0.1])
def test_coverage_with_three_seeds(between):
    rng = np.random.default_rng(3)
    held, narrow = [], []
    for _ in range(600):
        values = drawn(rng, 3, 100, between)
        interval = seed_interval(values)
        held.append(interval.low <= 0.1 <= interval.high)
        if between == 0.1 and len(narrow) < 150:
            other = crossed_bootstrap(values, rng, resamples=300)
            narrow.append(other.low <= 0.1 <= other.high)
    assert 0.93 <= np.mean(held) <= 1.0
    assert between < 0.1 or np.mean(narrow) < 0.9  # what three seeds do to a bootstrap


@pytest.mark.parametrize("between", [0.0, 0.05])
def test_coverage_and_errors_of_a_difference(between):
    """The interval holds the truth; where there is no difference, one is claimed in at most 5 of 100 cases or so."""
    rng = np.random.default_rng(4)
    held, claimed = [], []
    for _ in range(200):
        difficulty = rng.normal(0, 0.3, 80)
        pair = [drawn(rng, 3, 80, between, mean, difficulty) for mean in (0.1, 0.2)]
        interval = seed_difference(*pair).interval
        held.append(interval.low <= 0.1 <= interval.high)
        claimed.append(seed_difference(pair[0], drawn(rng, 3, 80, between, 0.1, difficulty)).resolved)
    assert 0.92 <= np.mean(held) <= 1.0 and np.mean(claimed) < 0.09


def test_what_it_asks_for_is_enough():
    """With the seeds it asks for, about 80 of 100 repetitions resolve the difference."""
    rng = np.random.default_rng(5)
    difficulty = rng.normal(0, 0.3, 300)
    true = MeanSquares(seed=300 * 0.05**2 + 0.2**2, problem=0.0, rest=0.2**2, seeds=6, problems=300)
    asked, _ = required_sample_size(true, true, 2 * 0.2**2 / 6, 0.05, 0.95)
    hits = [
        seed_difference(*(drawn(rng, asked, 300, 0.05, mean, difficulty) for mean in (0.10, 0.15))).resolved
        for _ in range(300)
    ]
    assert 0.73 <= np.mean(hits) <= 0.9


def test_more_problems_cannot_mend_seeds_that_differ():
    rng = np.random.default_rng(6)
    difficulty = rng.normal(0, 0.3, 2000)
    first, second = (drawn(rng, 3, 2000, 0.3, mean, difficulty) for mean in (0.1, 0.4))
    noisy, needed = seed_difference(first, second), required_for_difference(first, second)
    assert not noisy.resolved and needed[1] is None and needed[0] > 3
    assert "not resolved by 3 and 3 seeds x 2,000 problems" in verdict(noisy, needed, 3, 3, 2000)
    assert f"{needed[0]:,} seeds of each" in verdict(noisy, needed, 3, 3, 2000)


def test_the_sentence_says_what_was_found():
    rng = np.random.default_rng(7)
    clear = seed_difference(drawn(rng, 3, 500, 0.01), drawn(rng, 3, 500, 0.01, mean=0.4))
    assert clear.resolved and verdict(clear, (None, None), 3, 3, 500).startswith("+")
    assert "not resolved" not in verdict(clear, (None, None), 3, 3, 500)
    same = seed_difference(np.zeros((2, 5)), np.zeros((2, 5)))
    assert (
        same.p == 1.0 and same.interval == (0, 0, 0) and "more than can be run" in verdict(same, (None, None), 2, 2, 5)
    )


def test_what_cannot_be_told_is_refused():
    with pytest.raises(ValueError, match="1 seeds x 5 problems"):
        seed_interval(np.zeros((1, 5)))
    with pytest.raises((ValueError, TypeCheckError)):  # the second where shapes are checked at run time
        seed_difference(np.zeros((2, 5)), np.zeros((2, 6)))


@pytest.mark.parametrize("between", [0.0, 0.05])
def test_contrasts_by_seed_hold_the_truth_and_claim_little_where_there_is_none(between):
    """What a sweep does: arms of the same seeds on the same problems, subtracted cell by cell."""
    rng = np.random.default_rng(8)
    held, claimed, agree = [], [], []
    for _ in range(400):
        difficulty = rng.normal(0, 0.3, 80)
        first, second, same = (drawn(rng, 3, 80, between, mean, difficulty) for mean in (0.1, 0.2, 0.1))
        interval = seed_interval(second - first)
        held.append(interval.low <= 0.1 <= interval.high)
        null = same - first
        p, (_, low, high) = seed_p(mean_squares(null), float(null.mean())), seed_interval(null)
        claimed.append(p < 0.05)
        agree.append((p < 0.05) == (low > 0 or high < 0))
    assert 0.93 <= np.mean(held) <= 1.0 and np.mean(claimed) < 0.08 and all(agree)


def test_the_seeds_a_contrast_asks_for_are_enough():
    rng = np.random.default_rng(9)
    true = MeanSquares(seed=200 * 0.05**2 + 0.2**2, problem=3 * 0.1**2 + 0.2**2, rest=0.2**2, seeds=3, problems=200)
    asked, _ = required_seeds(true, 0.05)

    def cells():
        return 0.05 + rng.normal(0, 0.05, (asked, 1)) + rng.normal(0, 0.1, 200) + rng.normal(0, 0.2, (asked, 200))

    hits = [seed_interval(cells()).low > 0 for _ in range(300)]
    assert 3 < asked < 30 and 0.73 <= np.mean(hits) <= 0.9
    few = MeanSquares(seed=0.3, problem=30.0, rest=0.3, seeds=3, problems=200)  # problems differ, seeds do not
    assert required_seeds(few, 0.02)[0] is None and required_seeds(few, 0.02)[1] > 200
    assert required_seeds(few, 0.0) == (None, None)


def test_what_would_do_in_words():
    assert describe_sample_size((9, 4000), 3, 500) == "9 seeds or 4,000 problems"
    assert describe_sample_size((None, 4000), 3, 500) == "4,000 problems" and "more of both" in describe_sample_size(
        (None, None), 3, 500
    )
