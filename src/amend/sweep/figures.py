"""What one finished run says, in a form that runs can be compared in: where there is one, a number a test problem.

    acc_t1, acc_t2, ..., delta, i_to_c, c_to_i      greedy; with ``base.`` in front, of the untrained model, with
                                                    ``student.``, of one trained on what the trained one says
    fix_rate, break_rate                            of those wrong at first the share mended, of those right that spoilt
    auc_t1, auc_t2                                  how often a right attempt has a higher mean log-probability than a
                                                    wrong one
    change_rate, copy_rate, edit_distance, no_edit  how the second attempt relates to the first (no_edit: moved < 0.1)
    mean, maj, rerank, pass, unique                 of many first attempts at temperature 1, k of them
    parallel_k, sequential_k                        a vote over k attempts; over k/2 that were each corrected once
    fixed_t2, fixed_i_to_c                          the correction of a first attempt that is always the base model's
    student.per_1000, student.per_100k_tokens       the student's gain over the base model in mean, for 1,000 solutions
                                                    that it was given, and for 100,000 tokens sampled in all
    generated.unique_per_reply                      different right solutions of a problem for each reply to it
    generated.right_per_1000_tokens, unique_per_... right replies, and different right ones, for 1,000 tokens sampled in
                                                    all, training and generation
    step_error, step_predicted, step_excess         e a step of first attempts, (1 - e)^n for the n steps of both, how
                                                    much more often the second is right; token_ the same
    level3.acc_t1, level3.acc_t2                    greedy, of the problems of one level alone

A comparison stays paired as long as it is made problem by problem, so means are taken last (``result``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from amend.metric import confidence, correction, passk, survival
from amend.metric.diversity import within
from amend.metric.rerank import best_at_k
from amend.metric.solutions import unique_solutions
from amend.metric.table import Columns, Table, arrange
from amend.report.files import Run

NO_EDIT = 0.1  # edit-distance ratio below which SCoRe's Figure 3 has its spike
BINS = 20  # of the edit-distance histogram

Values = dict[str, Float[np.ndarray, " _"]]  # of each figure a value a problem


@dataclass(frozen=True)
class Curve:
    """A line of a figure: ``y`` has a row a problem (or a single one) and a column for each of ``x``."""

    x: tuple[float, ...]
    y: Float[np.ndarray, "p x"]


@dataclass(frozen=True)
class Measured:
    """Of one run: values by figure, curves by name, and what it cost."""

    values: Values
    curves: dict[str, Curve]
    cost: dict[str, float]


def measured(run: Run) -> Measured:
    """Everything that this run can say."""
    values: Values = {}
    curves: dict[str, Curve] = {}
    for phase, prefix in (("base", "base."), ("trained", ""), ("student", "student."), ("generated", "generated.")):
        found, drawn = _phase(run.episodes, phase)
        values |= {f"{prefix}{name}": value for name, value in found.items()}
        curves |= {f"{prefix}{name}": curve for name, curve in drawn.items()}
    if learning := _learning(run):
        curves["learning"] = learning
    cost = {key: float(value) for key, value in run.summary.get("cost", {}).items()}
    told = {"imitated", "episodes", "sampled_tokens"} <= run.student.keys()
    if told and {"student.mean", "base.mean", "generated.mean"} <= values.keys():
        cost |= {"imitated": float(run.student["imitated"]), "generated_tokens": float(run.student["sampled_tokens"])}
        values |= _for_its_cost(values, cost, float(run.student["episodes"]), curves["generated.pass"].x[-1])
    return Measured(values, curves, cost)


def _for_its_cost(values: Values, cost: Mapping[str, float], replies: float, k: float) -> Values:
    """What was generated, and the student's gain, a reply and a token: training's and generation's are both paid.

    replies: that were generated in all; k: to each of the problems that ``generated`` figures are of
    """
    tokens = cost["generated_tokens"] + cost.get("sampled_tokens", 0.0)
    gain = values["student.mean"] - values["base.mean"]
    unique = values["generated.unique"] / k
    return {
        "student.per_1000": gain * 1000 / cost["imitated"],
        "student.per_100k_tokens": gain * 100_000 / tokens,
        "generated.unique_per_reply": unique,
        "generated.right_per_1000_tokens": values["generated.mean"] * replies * 1000 / tokens,
        "generated.unique_per_1000_tokens": unique * replies * 1000 / tokens,
    }


def _phase(episodes: Columns, phase: str) -> tuple[Values, dict[str, Curve]]:
    values: Values = {}
    curves: dict[str, Curve] = {}
    greedy = arrange(episodes, phase, "greedy")
    if len(greedy):
        found, drawn = _greedy(greedy)
        values, curves = values | found, curves | drawn
    wide = arrange(episodes, phase, "wide")
    if len(wide):
        found, drawn = _wide(wide)
        values, curves = values | found, curves | drawn
        if "score" in episodes:
            score = np.array(episodes["score"], dtype=float)[wide.row[:, :, 0]]
            if not np.isnan(score).any():
                values["rerank"] = best_at_k(score, wide.correct[:, :, 0], score.shape[1])
    sampled = arrange(episodes, phase, "sampled")
    if len(sampled) and sampled.turns > 1 and sampled.correct.shape[1] > 3:
        found, drawn = _votes(sampled)
        values, curves = values | found, curves | drawn
    fixed = arrange(episodes, phase, "fixed")
    if len(fixed) and fixed.turns > 1:
        values["fixed_t2"] = fixed.correct[:, :, 1].mean(axis=1)
        values["fixed_i_to_c"] = correction.i_to_c(fixed.correct[:, :, 0], fixed.correct[:, :, 1])
    return values, curves


def _greedy(table: Table) -> tuple[Values, dict[str, Curve]]:
    accuracy = correction.accuracy(table.correct)
    values = {f"acc_t{turn + 1}": accuracy[:, turn] for turn in range(table.turns)}
    values["tokens"] = table.tokens.sum(axis=2).mean(axis=1).astype(float)
    sure, right = confidence.mean_logp(table.logp, table.tokens)[:, 0], table.correct[:, 0]
    surer = {f"auc_t{t + 1}": confidence.auc_by_problem(sure[:, t], right[:, t]) for t in range(min(2, table.turns))}
    values |= {name: value for name, value in surer.items() if not np.isnan(value).any()}
    if table.turns < 2:
        return values, {}
    first, second = table.correct[:, :, 0], table.correct[:, :, 1]
    ratio = correction.edit_distance(table.text[:, :, 0], table.text[:, :, 1])
    values |= {
        "delta": correction.delta(first, second),
        "i_to_c": correction.i_to_c(first, second),
        "c_to_i": correction.c_to_i(first, second),
        "change_rate": correction.change_rate(table.answer[:, :, 0], table.answer[:, :, 1]),
        "copy_rate": correction.copy_rate(table.text[:, :, 0], table.text[:, :, 1]),
        "edit_distance": ratio.mean(axis=1),
        "no_edit": (ratio < NO_EDIT).mean(axis=1),
    }
    values |= _lasting(table) | _by_level(table, accuracy) | correction.rates(first[:, 0], second[:, 0])
    within = np.minimum((ratio[:, 0] * BINS).astype(int), BINS - 1)
    histogram = Curve(tuple(i / BINS for i in range(BINS)), np.eye(BINS)[within])
    return values, {"edits": histogram, "attempts": Curve(tuple(range(1, table.turns + 1)), accuracy)}


def _lasting(table: Table) -> Values:
    """The second attempt against (1 - e)^n (``metric.survival``), n counted in steps and in tokens."""
    lengths = {"step": survival.steps(table.text), "token": table.tokens}
    return {
        f"{unit}_{name}": value
        for unit, length in lengths.items()
        for name, value in survival.by_problem(length, table.correct).items()
    }


def _by_level(table: Table, accuracy: Float[np.ndarray, "p k"]) -> Values:
    """Accuracy at both attempts of each level's problems, where there are several levels."""
    levels = np.unique(table.level)
    return {
        f"level{level}.acc_t{turn + 1}": accuracy[table.level == level, turn]
        for turn in range(2)
        for level in levels
        if len(levels) > 1
    }


def _wide(table: Table) -> tuple[Values, dict[str, Curve]]:
    correct, answer, k = table.correct[:, :, 0], table.answer[:, :, 0], table.correct.shape[1]
    values = {
        "mean": correct.mean(axis=1),
        "maj": passk.maj_at_k(answer, correct, k),
        "pass": passk.pass_at_k(correct, k),
        "unique": unique_solutions(table.text[:, :, 0], correct).astype(float),
    }
    various = within(table.text[:, :, 0], answer, np.ones_like(correct))
    values |= {name: various[name] for name in ("distinct_2", "vendi", "distinct_answers")}
    ks = _doubling(1, k)
    curve = Curve(tuple(ks), np.stack([passk.pass_at_k(correct, one) for one in ks], axis=1))
    return values, {"pass": curve}


def _votes(table: Table) -> tuple[Values, dict[str, Curve]]:
    """Majority votes at equal budgets of attempts."""
    budgets = _doubling(2, table.correct.shape[1])
    lines = {
        "parallel": [passk.maj_at_k(table.answer[:, :, 0], table.correct[:, :, 0], b) for b in budgets],
        "sequential": [passk.maj_at_k(table.answer[:, :, 1], table.correct[:, :, 1], b // 2) for b in budgets],
    }
    values = {f"{name}_{b}": line for name, some in lines.items() for b, line in zip(budgets, some, strict=True)}
    return values, {name: Curve(tuple(budgets), np.stack(some, axis=1)) for name, some in lines.items()}


def _doubling(start: int, most: int) -> list[int]:
    """start, 2 start, 4 start, ... and ``most`` itself."""
    found = [start]
    while found[-1] * 2 <= most:
        found.append(found[-1] * 2)
    return found if found[-1] == most else [*found, most]


def _learning(run: Run) -> Curve | None:
    """Training reward of the last turn against sampled tokens."""
    rows: list[Any] = [row for row in run.metrics if "sampled_tokens" in row and "reward_t1" in row]
    if not rows:
        return None
    last = max(key for key in rows[0] if key.startswith("reward_t"))
    return Curve(tuple(float(r["sampled_tokens"]) for r in rows), np.array([[float(r.get(last, 0.0)) for r in rows]]))
