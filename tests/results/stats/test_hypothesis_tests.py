"""Exact McNemar against scipy's binomial test; permutation tests against every permutation; Holm by hand."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jaxtyping import TypeCheckError
from reference_statistics import permutation, sign_flip
from scipy.stats import binomtest

from amend.results.stats.hypothesis_tests import holm, mcnemar


@given(arrays(bool, (2, 30)))
@settings(deadline=None)
def test_is_the_binomial_test(pair):
    lost, won = int((pair[0] & ~pair[1]).sum()), int((~pair[0] & pair[1]).sum())
    expected = binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
    assert mcnemar(pair[0], pair[1]) == pytest.approx(expected)


def test_by_hand():
    first, second = np.zeros(6, dtype=bool), np.array([1, 1, 1, 1, 1, 0], dtype=bool)
    assert mcnemar(first, second) == pytest.approx(2 / 32)  # five of five one way
    assert mcnemar(first, first) == 1.0


def test_lengths_must_agree():
    with pytest.raises((ValueError, TypeCheckError)):  # the second where shapes are checked at run time
        mcnemar(np.zeros(6, dtype=bool), np.zeros(5, dtype=bool))


@given(arrays(float, 7, elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0])))
@settings(max_examples=40, deadline=None)
def test_sign_flips_against_all_of_them(difference):
    signs = np.array(list(product([1, -1], repeat=7)))
    means = np.abs((signs * difference).mean(axis=1))
    expected = np.mean(means >= abs(difference.mean()) - 1e-12)
    assert sign_flip(difference, np.random.default_rng(0)) == pytest.approx(expected)


def test_sampled_sign_flips_are_close_and_agree_with_mcnemar():
    rng = np.random.default_rng(1)
    first, second = rng.random(300) < 0.5, rng.random(300) < 0.58
    found = sign_flip(second.astype(float) - first.astype(float), rng)
    assert found == pytest.approx(mcnemar(first, second), abs=0.02)


def test_dealing_runs_out_against_all_ways():
    first, second = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 0.6])
    whole, seen = np.concatenate([first, second]), abs(first.mean() - second.mean())
    ways = [abs(whole[list(w)].mean() - np.delete(whole, w).mean()) for w in combinations(range(6), 3)]
    found = permutation(first, second, np.random.default_rng(0))
    assert found == pytest.approx(np.mean(np.array(ways) >= seen - 1e-12))
    assert permutation(first, first + 1, np.random.default_rng(0)) == pytest.approx(0.1)  # the least of three and three


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    assert holm(np.array([0.6, 0.5])).tolist() == [1.0, 1.0] and holm(np.zeros(0)).shape == (0,)
