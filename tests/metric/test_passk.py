"""pass@k and maj@k against every subset there is."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amend.metric.passk import maj_at_k, pass_at_k


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
