"""Exact McNemar against scipy's binomial test on the problems that differ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from jaxtyping import TypeCheckError
from scipy.stats import binomtest

from amend.stat.paired import mcnemar


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
