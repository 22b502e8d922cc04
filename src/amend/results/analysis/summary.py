"""Compute the metrics of a run with their intervals from its episode table, for summary.json and the tables.

    M = {"acc_t1": I, "acc_t2": I, "delta": I, "i_to_c": I, "c_to_i": I, "n": problems}    I = {"mean", "low", "high"}

The intervals are 95 % intervals over problems, as fractions of all problems. A share of yes-or-no outcomes, one per
problem, has Wilson's interval. Differences, and metrics with several samples per problem, have a bootstrap interval
over problems. Every interval has its own random generator, so the same table always gives the same metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from amend.results.analysis.diagnostics import best_of, lasting, rng_for, spread, state
from amend.results.metrics import pass_at_k, self_correction
from amend.results.metrics.episode_table import Columns, EpisodeTable, select
from amend.results.metrics.self_correction import unedited
from amend.results.stats.hypothesis_tests import mcnemar
from amend.results.stats.intervals import Interval, bootstrap, paired_bootstrap, wilson

Figures = dict[str, Any]


def summarise(columns: Columns, phase: str, decoding: str) -> Figures:
    """Compute M of one phase and decoding.

    Args:
        columns: The episode table.
        phase: "base", "trained" or "student".
        decoding: "greedy", "sampled" or "wide".

    Returns:
        M, or {"n": 0} if the table has no such rows. With two turns it also has "change_rate", "copy_rate",
        "edit_distance", and the plain numbers "fix_rate" and "break_rate" unless they are undefined. With several
        samples it has "pass_at" and "maj_at" by turn and k, "best_at", "rerank_at" (with ``eval.reranker``),
        "diversity" by turn (of "all" outputs and of the "right" ones, "within" problems and "across" them),
        "zero_variance" and "token_entropy" (not greedy). With several subjects it has "by_subject", M of each. It
        always has "truncated", "tokens" (mean reply length), "survival" and "confidence" (``diagnostics``).
    """
    table = select(columns, phase, decoding)
    if not len(table):
        return {"n": 0}
    figures = _core(table.correct)
    figures["truncated"] = float(table.truncated.mean())
    figures["tokens"] = float(table.tokens.mean())
    if table.turns > 1:
        figures.update(_correction_metrics(table))
    if table.correct.shape[1] > 1:
        figures.update(_many(table))
    figures.update(state(table, is_sampled=decoding != "greedy"))
    figures.update(lasting(table))
    subjects = sorted(set(table.subject.tolist()))
    if len(subjects) > 1:
        figures["by_subject"] = {subject: _core(table.correct[table.subject == subject]) for subject in subjects}
    return figures


def compare(columns: Columns, decoding: str) -> Figures:
    """Trained less base on the problems both were given: each figure's change I, and exact McNemar p-values.

    {"acc_t1": I, ..., "p_acc_t1": float, ...}; p-values only with one sample a problem; {} where either is missing.
    """
    base, trained = (select(columns, phase, decoding) for phase in ("base", "trained"))
    known = {problem: i for i, problem in enumerate(base.problem.tolist())}
    mine = [i for i, problem in enumerate(trained.problem.tolist()) if problem in known]
    if not mine:
        return {}
    theirs = [known[trained.problem[i]] for i in mine]
    before, after = base.correct[theirs], trained.correct[mine]
    change: Figures = {}
    values = _per_problem(before), _per_problem(after)
    for name in values[0].keys() & values[1].keys():
        change[name] = _plain(paired_bootstrap(values[0][name], values[1][name], rng_for(f"change in {name}")))
    if before.shape[1] == after.shape[1] == 1:
        for turn in range(min(before.shape[2], after.shape[2])):
            change[f"p_acc_t{turn + 1}"] = mcnemar(before[:, 0, turn], after[:, 0, turn])
    return change


def _per_problem(correct: Bool[np.ndarray, "p n k"]) -> dict[str, Float[np.ndarray, " p"]]:
    """The figures that every table has, one value a problem."""
    values = {f"acc_t{turn + 1}": column for turn, column in enumerate(self_correction.accuracy(correct).T)}
    if correct.shape[2] > 1:
        first, second = correct[:, :, 0], correct[:, :, 1]
        values["delta"] = self_correction.delta(first, second)
        values["i_to_c"] = self_correction.i_to_c(first, second)
        values["c_to_i"] = self_correction.c_to_i(first, second)
    return values


def _core(correct: Bool[np.ndarray, "p n k"]) -> Figures:
    """Accuracies and flips with their intervals."""
    problems, samples, _ = correct.shape
    figures: Figures = {}
    for name, values in _per_problem(correct).items():
        if samples == 1 and name != "delta":
            figures[name] = _plain(wilson(round(float(values.sum())), problems))
        else:
            figures[name] = _mean(values, name)
    return {**figures, "n": problems}


def _correction_metrics(table: EpisodeTable) -> Figures:
    """How the second attempt relates to the first, right or wrong."""
    first, second = table.correct[:, :, 0], table.correct[:, :, 1]
    ratio = self_correction.edit_distance(table.text[:, :, 0], table.text[:, :, 1])
    figures: Figures = {
        "change_rate": _mean(self_correction.change_rate(table.answer[:, :, 0], table.answer[:, :, 1]), "change_rate"),
        "copy_rate": _mean(self_correction.copy_rate(table.text[:, :, 0], table.text[:, :, 1]), "copy_rate"),
        "edit_distance": _mean(ratio.mean(axis=1), "edit_distance"),
        "unedited": _mean(unedited(ratio), "unedited"),
    }
    rates = {
        "fix_rate": self_correction.fix_rate(first, second),
        "break_rate": self_correction.break_rate(first, second),
    }
    return {**figures, **{name: rate for name, rate in rates.items() if rate == rate}}  # nan is not JSON


def _many(table: EpisodeTable) -> Figures:
    """pass@k and maj@k of each turn, k = 1, 2, 4, ... as far as the samples go."""
    samples = table.correct.shape[1]
    ks = [2**i for i in range(samples.bit_length()) if 2**i <= samples]
    figures: Figures = {"pass_at": {}, "maj_at": {}, "diversity": {}}
    for turn in range(table.turns):
        correct, answer = table.correct[:, :, turn], table.answer[:, :, turn]
        figures["pass_at"][f"t{turn + 1}"] = {str(k): _mean(pass_at_k.pass_at_k(correct, k), f"pass@{k}") for k in ks}
        figures["maj_at"][f"t{turn + 1}"] = {
            str(k): _mean(pass_at_k.maj_at_k(answer, correct, k), f"maj@{k}") for k in ks
        }
        figures["diversity"][f"t{turn + 1}"] = spread(table, turn)
        for name, by_k in best_of(table, turn, ks).items():
            figures.setdefault(name, {})[f"t{turn + 1}"] = by_k
    return figures


def _mean(values: Float[np.ndarray, " p"], name: str) -> Mapping[str, float]:
    return _plain(bootstrap(values, rng_for(name)))


def _plain(interval: Interval) -> dict[str, float]:
    return {name: float(value) for name, value in interval._asdict().items()}
