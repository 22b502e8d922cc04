"""pass@k and maj@k against every subset there is."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_statistics import maj_sampled

from amend.results.metrics.pass_at_k import maj_at_k, pass_at_k, pass_curve


def vote(drawn: list[tuple[str | None, bool]]) -> float:
    """The chance that a fair draw among the most frequent answers is right; 0 where nobody votes."""
    votes = Counter(answer for answer, _ in drawn if answer is not None)
    if not votes:
        return 0.0
    winners = [answer for answer, count in votes.items() if count == max(votes.values())]
    return sum(dict(drawn)[answer] for answer in winners) / len(winners)


@st.composite
def problems(draw):
    """Samples of one problem: answers of which some are right, some None (never right), and k."""
    right = draw(st.sets(st.sampled_from("abc")))
    answers = draw(st.lists(st.sampled_from([*"abcd", None]), min_size=1, max_size=7))
    return answers, [answer in right for answer in answers], draw(st.integers(1, len(answers)))


@given(problems())
@settings(max_examples=150, deadline=None)
def test_against_all_subsets(problem):
    answers, correct, k = problem
    subsets = list(combinations(list(zip(answers, correct, strict=True)), k))
    passed = np.mean([any(right for _, right in subset) for subset in subsets])
    voted = np.mean([vote(list(subset)) for subset in subsets])
    assert pass_at_k(np.array([correct]), k)[0] == pytest.approx(passed)
    assert maj_at_k(np.array([answers], dtype=object), np.array([correct]), k)[0] == pytest.approx(voted)


def test_by_hand():
    correct = np.array([[True, False, False, False], [False] * 4, [True] * 4])
    np.testing.assert_allclose(pass_at_k(correct, 2), [1 - 3 / 6, 0, 1])
    answer = np.array([["a", "b", "b", None], [None] * 4, ["a"] * 4], dtype=object)
    # first problem, three of four: {a,b,b} -> b; {a,b,None} twice -> a tie, half right; {b,b,None} -> b
    np.testing.assert_allclose(maj_at_k(answer, correct, 3), [0.25, 0, 1])


def test_many_samples_stay_exact():
    correct = np.zeros((1, 200), dtype=bool)
    correct[0, :3] = True
    assert pass_at_k(correct, 100)[0] == pytest.approx(1 - (100 * 99 * 98) / (200 * 199 * 198))
    answer = np.array([["right"] * 3 + [f"w{i % 50}" for i in range(197)]], dtype=object)
    assert 0 < maj_at_k(answer[:, :40], correct[:, :40], 40)[0] <= 1


@pytest.mark.parametrize("k", [0, 5])
def test_k_must_fit(k):
    with pytest.raises(ValueError, match="allowed: 1 to 4"):
        pass_at_k(np.ones((1, 4), dtype=bool), k)


def humaneval(n: int, c: int, k: int) -> float:
    """The estimator as Chen et al. print it."""
    return 1.0 if n - c < k else float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
@settings(deadline=None)
def test_every_k_is_human_evals_estimator(case):
    n, c, k = case
    correct = np.arange(n)[None, :] < c
    curve = pass_curve(correct)
    assert curve.shape == (1, n) and curve[0, k - 1] == pytest.approx(humaneval(n, c, k), abs=1e-12)
    assert (np.diff(curve[0]) >= -1e-12).all() and pass_at_k(correct, k)[0] == curve[0, k - 1]


def test_rare_successes_keep_their_digits():
    curve = pass_curve((np.arange(100_000) < 1)[None, :])
    np.testing.assert_allclose(curve[0, [0, 9, 99_999]], [1e-5, 1e-4, 1.0], rtol=1e-9)


@given(problems())
@settings(max_examples=40, deadline=None)
def test_sampled_votes_tend_to_the_exact_ones(problem):
    answers, correct, k = problem
    table = np.array([answers], dtype=object), np.array([correct])
    sampled = maj_sampled(*table, k, 4000, np.random.default_rng(0))[0]
    assert sampled == pytest.approx(maj_at_k(*table, k)[0], abs=0.04)  # five standard errors at the most


def test_sampling_all_is_exact_and_nobody_voting_is_wrong():
    answer = np.array([["a", "b", "b", None], [None] * 4], dtype=object)
    correct = np.array([[False, True, True, False], [False] * 4])
    assert maj_sampled(answer, correct, 4, 3, np.random.default_rng(1)).tolist() == [1.0, 0.0]
