"""best@k against every subset there is, with ties; and its two ends: a perfect score, and none."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amend.results.metrics.pass_at_k import best_at_k, pass_at_k

samples = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=1, max_size=7)


@given(samples.flatmap(lambda s: st.tuples(st.just(s), st.integers(1, len(s)))))
@settings(max_examples=150, deadline=None)
def test_against_all_subsets(case):
    drawn, k = case
    expected = []
    for subset in combinations(drawn, k):
        best = max(score for score, _ in subset)
        expected.append(np.mean([right for score, right in subset if score == best]))  # a fair draw among the tied
    score, correct = (np.array([column]) for column in zip(*drawn, strict=True))
    assert best_at_k(score, correct, k)[0] == pytest.approx(np.mean(expected))


def test_a_perfect_score_is_pass_at_k_and_a_blind_one_is_pass_at_1():
    correct = np.random.default_rng(0).random((20, 30)) < 0.3
    for k in (1, 7, 30):
        np.testing.assert_allclose(best_at_k(correct.astype(float), correct, k), pass_at_k(correct, k))
        np.testing.assert_allclose(best_at_k(np.zeros((20, 30)), correct, k), correct.mean(axis=1))


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ValueError, match="allowed: 1 to 3"):
        best_at_k(np.zeros((1, 3)), np.zeros((1, 3), dtype=bool), 4)
    with pytest.raises(ValueError, match="the score nan"):
        best_at_k(np.array([[0.0, np.nan]]), np.zeros((1, 2), dtype=bool), 1)
