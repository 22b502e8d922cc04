"""Perplexity by hand; AUC against every pair there is and against scipy's Mann-Whitney."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from amend.results.metrics.confidence import auroc, auroc_by_problem, confidence_metrics, perplexity, reliability_curve


def test_perplexity_by_hand():
    np.testing.assert_allclose(perplexity(np.log([1 / 8, 1.0]), np.array([3, 5])), [2, 1])
    found = confidence_metrics(np.log([1 / 4, 1 / 9, 1 / 8]), np.array([2, 2, 1]), np.array([True, False, False]))
    assert found["auroc"] == 1.0 and found["perplexity_right"] == pytest.approx(2)
    assert found["perplexity_wrong"] == pytest.approx(np.sqrt(3 * 8))


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.booleans()), min_size=1, max_size=20))
@settings(deadline=None)
def test_auc_against_every_pair(scored):
    score, correct = (np.array(column) for column in zip(*scored, strict=True))
    pairs = [(a > b) + 0.5 * (a == b) for a in score[correct] for b in score[~correct]]
    if not pairs:
        assert np.isnan(auroc(score, correct))
        return
    assert auroc(score, correct) == pytest.approx(np.mean(pairs))
    assert auroc(score, correct) * len(pairs) == pytest.approx(mannwhitneyu(score[correct], score[~correct]).statistic)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.booleans()), min_size=1, max_size=20))
@settings(deadline=None)
def test_auc_by_problem_against_every_pair_and_delongs_variance(scored):
    score, correct = (np.array(column) for column in zip(*scored, strict=True))
    found = auroc_by_problem(score, correct)
    if correct.all() or not correct.any():
        assert np.isnan(found).all()
        return
    assert found.mean() == pytest.approx(auroc(score, correct))
    pairs = np.array([[(a > b) + 0.5 * (a == b) for b in score[~correct]] for a in score[correct]])
    by_right, by_wrong = pairs.mean(axis=1), pairs.mean(axis=0)
    variance = by_right.var() / len(by_right) + by_wrong.var() / len(by_wrong)
    assert found.var() / len(found) == pytest.approx(variance)


def test_where_a_log_probability_is_missing_no_auc_is_told():
    assert np.isnan(auroc_by_problem(np.array([0.1, np.nan, 0.3]), np.array([True, False, True]))).all()


def test_curve_has_all_attempts_surest_first():
    rng = np.random.default_rng(0)
    unsure = rng.uniform(1, 3, 999)
    mean, share, count = reliability_curve(unsure, rng.random(999) < 1 / unsure, 5)
    assert count.sum() == 999 and count.min() > 190 and (np.diff(mean) > 0).all() and (np.diff(share) < 0).all()
