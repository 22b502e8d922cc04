"""(1 - e)^n where it is true by construction, where it is not, and against a search over e."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amend.metric.survival import curve, per_step_error, second_attempt, steps


def likelihood(e, length, correct):
    p = (1 - e) ** length
    return np.where(correct, np.log(p), np.log1p(-p)).sum()


@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=2, max_size=25))
@settings(max_examples=40, deadline=None)
def test_no_other_error_is_likelier(attempts):
    length, correct = (np.array(column) for column in zip(*attempts, strict=True))
    e = per_step_error(length, correct)
    if correct.all() or not correct.any():
        assert e == (0.0 if correct.all() else 1.0)
        return
    grid = np.geomspace(1e-5, 0.999, 3000)
    assert likelihood(e, length, correct) >= max(likelihood(g, length, correct) for g in grid) - 1e-6


def test_one_length_gives_the_root():
    correct = np.arange(100) < 49
    assert per_step_error(np.full(100, 2), correct) == pytest.approx(1 - 0.7)
    assert per_step_error(np.full(100, 4000), correct) == pytest.approx(1 - 0.49 ** (1 / 4000))
    assert np.isnan(per_step_error(np.zeros(0), np.zeros(0, dtype=bool)))


def test_where_the_argument_holds_the_curve_follows_it_and_the_error_is_flat():
    rng = np.random.default_rng(0)
    length = rng.integers(1, 40, 200_000)
    correct = rng.random(len(length)) < 0.97**length
    e = per_step_error(length, correct)
    assert e == pytest.approx(0.03, abs=0.001)
    found = curve(length, correct, 8, e)
    assert found.n.sum() == len(length) and len(found.n) == 8 and (np.diff(found.length) > 0).all()
    np.testing.assert_allclose(found.correct, found.predicted, atol=0.01)
    np.testing.assert_allclose(found.error, 0.03, atol=0.002)


def test_where_correctness_does_not_depend_on_length_the_error_falls():
    rng = np.random.default_rng(0)
    length, correct = rng.integers(1, 40, 20_000), rng.random(20_000) < 0.6
    found = curve(length, correct, 6, per_step_error(length, correct))
    assert found.error[0] > 5 * found.error[-1] and found.predicted[-1] < found.correct[-1]


def test_bins_do_not_part_one_length_and_nothing_gives_nothing():
    found = curve(np.array([3, 3, 3, 5]), np.array([True, False, True, True]), 4, 0.1)
    assert found.length.tolist() == [3, 5] and found.n.tolist() == [3, 1]
    np.testing.assert_allclose(found.correct, [2 / 3, 1])
    np.testing.assert_allclose(found.predicted, [0.9**3, 0.9**5])
    assert len(curve(np.zeros(0), np.zeros(0, dtype=bool), 4, 0.1).n) == 0


def test_self_correction_defies_it():
    """Half are right at first, of the wrong a half is mended: with twice the steps 3/4 are right, not 1/4."""
    correct = np.array([[[1, 1]], [[1, 1]], [[0, 1]], [[0, 0]]], dtype=bool)
    found = second_attempt(np.full((4, 1, 2), 10), correct)
    assert found["error"] == pytest.approx(1 - 0.5**0.1)
    assert found["predicted"] == pytest.approx(0.25) and found["correct"] == 0.75
    assert found["error_after"] == pytest.approx(1 - 0.75**0.05) and found["error_after"] < found["error"]


def test_steps_are_equals_signs_sentences_and_lines():
    texts = np.array(["7*7=49+3=52 ok", "One. Two! Three.", "a\nb\nc\n", "", "3.14"], dtype=object)
    assert steps(texts).tolist() == [2, 2, 2, 1, 1]
