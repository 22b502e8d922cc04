"""The correction metrics on a 2 x 4 table worked out on paper, and their identities on any table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from amend.results.metrics import self_correction

# Two problems, four samples. Paper:   c->c c->i i->c i->i   |   i->c i->c i->i c->c
FIRST = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], dtype=bool)
SECOND = np.array([[1, 0, 1, 0], [1, 1, 0, 1]], dtype=bool)


def test_by_hand():
    np.testing.assert_allclose(self_correction.accuracy(np.stack([FIRST, SECOND], axis=2)), [[0.5, 0.5], [0.25, 0.75]])
    np.testing.assert_allclose(self_correction.delta(FIRST, SECOND), [0.0, 0.5])
    np.testing.assert_allclose(self_correction.i_to_c(FIRST, SECOND), [0.25, 0.5])
    np.testing.assert_allclose(self_correction.c_to_i(FIRST, SECOND), [0.25, 0.0])
    assert self_correction.fix_rate(FIRST, SECOND) == pytest.approx(3 / 5)  # 5 wrong at first, 3 of them mended
    assert self_correction.break_rate(FIRST, SECOND) == pytest.approx(1 / 3)
    names = [[self_correction.CLASSES[i] for i in row] for row in self_correction.classes(FIRST, SECOND)]
    assert names == [["c→c", "c→i", "i→c", "i→i"], ["i→c", "i→c", "i→i", "c→c"]]


def test_changes_and_copies_by_hand():
    answers = np.array([["1", None, None, "2"]], dtype=object), np.array([["1", "1", None, "3"]], dtype=object)
    np.testing.assert_allclose(self_correction.change_rate(*answers), [0.5])
    texts = np.array([["a", "b", "c", ""]], dtype=object), np.array([["a", "B", "c ", ""]], dtype=object)
    np.testing.assert_allclose(self_correction.copy_rate(*texts), [0.5])


def test_edit_distance_by_hand():
    first = np.array([["kitten", "same", "", "abc", ""]], dtype=object)
    second = np.array([["sitting", "same", "", "", "xy"]], dtype=object)
    np.testing.assert_allclose(self_correction.edit_distance(first, second), [[3 / 13, 0, 0, 1, 1]])


def test_histogram_is_shares_and_its_ends_are_inside():
    shares = self_correction.histogram(np.array([[0.0, 0.05, 0.1, 1.0]]), 10)
    np.testing.assert_allclose(shares, [0.5, 0.25, 0, 0, 0, 0, 0, 0, 0, 0.25])
    assert self_correction.histogram(np.zeros((0, 0)), 4).tolist() == [0, 0, 0, 0]


def test_rates_without_a_denominator_are_nan():
    ones, zeros = np.ones((2, 1), dtype=bool), np.zeros((2, 1), dtype=bool)
    assert np.isnan(self_correction.fix_rate(ones, zeros)) and np.isnan(self_correction.break_rate(zeros, ones))


def test_a_ratio_by_problem_by_hand():
    """Of three that were wrong two are mended: 2/3, and no problem beside them moves it."""
    mended, wrong = np.array([1.0, 0, 0, 1]), np.array([1.0, 1, 0, 1])
    np.testing.assert_allclose(self_correction.ratio_by_problem(mended, wrong), [10 / 9, -2 / 9, 6 / 9, 10 / 9])
    assert np.isnan(self_correction.ratio_by_problem(mended, np.zeros(4))).all()


def test_a_ratio_by_problem_spreads_as_the_ratio_does():
    """2,000 samples of 300 problems: the deviation of their rates is what one sample's numbers say of it."""
    rng = np.random.default_rng(0)
    wrong = rng.random((2000, 300)) < 0.4
    mended = wrong & (rng.random((2000, 300)) < 0.2)
    numbers = np.stack(
        [self_correction.ratio_by_problem(m, w) for m, w in zip(mended.astype(float), wrong.astype(float), strict=True)]
    )
    rates = mended.sum(axis=1) / wrong.sum(axis=1)
    np.testing.assert_allclose(numbers.mean(axis=1), rates)
    told = numbers.std(axis=1, ddof=1).mean() / np.sqrt(300)
    assert told == pytest.approx(rates.std(), rel=0.06)


@given(arrays(bool, (3, 4)), arrays(bool, (3, 4)))
@settings(deadline=None)
def test_what_is_gained_less_what_is_spoilt_is_delta(first, second):
    gained, spoilt = self_correction.i_to_c(first, second), self_correction.c_to_i(first, second)
    np.testing.assert_allclose(gained - spoilt, self_correction.delta(first, second), atol=1e-12)
    assert np.bincount(self_correction.classes(first, second).ravel(), minlength=4)[1] == round(gained.sum() * 4)


def levenshtein(one: str, two: str) -> int:
    """The textbook's table, row by row."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, start=1):
        row, before = [i], row
        for j, b in enumerate(two, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1]


@given(st.text("abcé\0", max_size=9), st.text("abcé\0", max_size=9))
@settings(deadline=None)
def test_edit_distance_against_the_textbook(one, two):
    found = self_correction.edit_distance(np.array([[one]], dtype=object), np.array([[two]], dtype=object))
    assert found[0, 0] == pytest.approx(levenshtein(one, two) / max(1, len(one) + len(two)))
