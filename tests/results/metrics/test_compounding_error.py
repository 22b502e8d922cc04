"""(1 - e)^n where it is true by construction, where it is not, and against a search over e."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amend.results.metrics.compounding_error import by_problem, count_steps, curve, per_step_error, second_attempt


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
    assert count_steps(texts).tolist() == [2, 2, 2, 1, 1]


def test_values_by_problem_have_the_same_means_as_the_whole():
    """And the excess is of the second attempt over what the first ones' error says: 3/4 for 1/4, as above."""
    correct = np.array([[[1, 1]], [[1, 1]], [[0, 1]], [[0, 0]]], dtype=bool)
    found = by_problem(np.full((4, 1, 2), 10), correct)
    assert found["error"].mean() == pytest.approx(1 - 0.5**0.1)
    assert found["predicted"].mean() == pytest.approx(0.25) and found["excess"].mean() == pytest.approx(0.5)
    rng = np.random.default_rng(1)
    length, right = rng.integers(1, 9, (50, 3, 2)), rng.random((50, 3, 2)) < 0.6
    whole, each = second_attempt(length, right), by_problem(length, right)
    assert each["error"].mean() == pytest.approx(whole["error"])
    assert each["predicted"].mean() == pytest.approx(whole["predicted"])
    assert each["excess"].mean() == pytest.approx(whole["correct"] - whole["predicted"])


@pytest.mark.parametrize("right", [True, False])
def test_an_error_of_none_or_all_has_values_too(right):
    found = by_problem(np.full((5, 1, 2), 3), np.full((5, 1, 2), right))
    assert found["error"].tolist() == [float(not right)] * 5 and found["excess"].tolist() == [0.0] * 5


def test_their_spread_is_that_of_repetitions_the_fit_included():
    """Where the argument is true the excess is 0, and an interval over problems holds it in 95 of 100 cases or so."""
    rng = np.random.default_rng(2)
    means, errors, held = [], [], []
    for _ in range(400):
        length = rng.integers(1, 12, (150, 1, 2))
        chance = 0.9 ** np.stack([length[:, :, 0], length.sum(axis=2)], axis=2)
        found = by_problem(length, rng.random(chance.shape) < chance)
        means.append([found[name].mean() for name in ("error", "excess")])
        errors.append([found[name].std(ddof=1) / np.sqrt(150) for name in ("error", "excess")])
        held.append(abs(means[-1][1]) < 1.96 * errors[-1][1])
    np.testing.assert_allclose(np.std(means, axis=0), np.mean(errors, axis=0), rtol=0.1)
    assert 0.92 <= np.mean(held) <= 0.98
