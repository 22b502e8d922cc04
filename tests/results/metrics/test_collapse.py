"""Collapse by hand, and alarms: when each speaks, that it speaks once, and that old lines bring it back."""

from __future__ import annotations

import numpy as np
import pytest

from amend.results.metrics import diversity, self_correction
from amend.results.metrics.pass_at_k import pass_at_k, sampling_efficiency_gap
from amend.training.alerts import AlertRules, AlertThresholds

LIMITS = AlertThresholds(
    window=2, clip_ratio=0.2, frac_reward_zero_std=0.8, entropy=0.5, kl=3.0, unedited=0.9, sampling_efficiency_gap=0.4
)  # fmt: skip


def test_by_hand():
    np.testing.assert_allclose(diversity.token_entropy(np.array([[-2.0, -4.0]]), np.array([[1, 2]])), [2.0])
    assert diversity.zero_variance(np.array([[True, True], [True, False], [False, False]])).tolist() == [1, 0, 1]
    np.testing.assert_allclose(self_correction.unedited(np.array([[0.0, 0.099, 0.1, 0.9]])), [0.5])
    base = np.array([[True, False, False, False], [False] * 4])
    trained = np.array([[True, False], [True, True]])
    np.testing.assert_allclose(sampling_efficiency_gap(base, trained, 2), pass_at_k(base, 2) - [0.5, 1.0])
    np.testing.assert_allclose(sampling_efficiency_gap(base, trained, 2), [0.0, -1.0])


@pytest.mark.parametrize(("stage", "names"), [("", []), ("II", []), ("I", ["stage"]), ("I(b)", ["stage"])])
def test_a_run_that_ends_before_its_last_stage_says_so(stage, names):
    found = AlertRules(LIMITS).ended({"iteration": 9, "stage": stage, "final_stage": not names})
    assert [alarm.name for alarm in found] == names
    assert all(f"ended in Stage {stage}," in alarm.text and alarm.iteration == 0 for alarm in found)


def alarms(rows, limits):
    watch = AlertRules(limits)
    return [alarm for line in rows for alarm in watch.look(line)]


def row(number, **figures):
    return {"iteration": number, "entropy": 1.0, "kl_t1": 0.1, "kl_t2": 0.1, "unedited": 0.2,
    "response_length/clip_ratio": 0.0,
            "frac_reward_zero_std": 0.1, **figures}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "figures", "said"),
    [
        ("clip_ratio", {"response_length/clip_ratio": 0.3}, "raise algo.max_tokens"),
        ("frac_reward_zero_std", {"frac_reward_zero_std": 0.9}, "in 90% of groups"),
        ("entropy", {"entropy": 0.3}, "fallen to 0.300 nats from 1.000"),
        ("kl", {"kl_t1": 1.5, "kl_t2": 1.6}, "3.1 nats per episode"),
        ("unedited", {"unedited": 0.95}, "95% of second attempts"),
    ],
)
def test_each_rule_speaks_once_and_only_of_its_own(name, figures, said):
    rows = [row(1), row(2), row(3, **figures), row(4, **figures), row(5, **figures)]
    found = alarms(rows, LIMITS)
    assert [alarm.name for alarm in found] == [name] and said in found[0].text
    assert found[0].iteration == (
        3 if name in ("clip_ratio", "frac_reward_zero_std") else 4
    )  # the others fill a window first
    assert alarms([row(i) for i in range(1, 9)], LIMITS) == []


def test_one_odd_round_is_no_alarm_where_a_window_is_looked_at():
    rows = [row(1), row(2), row(3, entropy=0.2), row(4), row(5, kl_t1=4.0), row(6), row(7, unedited=1.0), row(8)]
    assert alarms(rows, LIMITS) == []


def test_a_resumed_run_is_where_it_was():
    rows = [row(1), row(2), row(3, entropy=0.3), row(4, entropy=0.3), row(5, entropy=0.3, kl_t1=9.0)]
    whole = alarms(rows, LIMITS)
    for cut in range(len(rows)):
        again = AlertRules(LIMITS)
        before = [alarm for line in rows[:cut] for alarm in again.look(line)]
        assert before + [alarm for line in rows[cut:] for alarm in again.look(line)] == whole


def test_lines_without_a_figure_raise_nothing_of_it():
    assert alarms([{"iteration": i, "frac_reward_zero_std": 0.0} for i in range(1, 6)], LIMITS) == []


def test_lost_reach_is_judged_at_the_end():
    assert AlertRules(LIMITS).judge(0.4, 96) == []
    assert "pass@96 of the base model is 45% above" in AlertRules(LIMITS).judge(0.45, 96)[0].text
