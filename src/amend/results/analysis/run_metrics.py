"""Compute every metric of a run, one value for each problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from amend.errors import UserError
from amend.results.metrics import compounding_error, confidence, pass_at_k, self_correction
from amend.results.metrics.diversity import unique_solutions, within
from amend.results.metrics.episode_table import Columns, EpisodeTable, select
from amend.results.metrics.pass_at_k import best_at_k
from amend.results.run_folder.reader import Run


def figures(run: Run, phase: str) -> dict[str, Float[np.ndarray, " p"]]:
    """Each figure of a run's "trained" or "base" model on each problem."""
    greedy, wide = select(run.episodes, phase, "greedy"), select(run.episodes, phase, "wide")
    values: dict[str, np.ndarray] = {}
    if len(greedy):
        accuracy = self_correction.accuracy(greedy.correct)
        values["acc_t1"] = accuracy[:, 0]
        if greedy.turns > 1:
            first, second = greedy.correct[:, :, 0], greedy.correct[:, :, 1]
            values |= {
                "acc_t2": accuracy[:, 1],
                "delta": self_correction.delta(first, second),
                "i_to_c": self_correction.i_to_c(first, second),
                "c_to_i": self_correction.c_to_i(first, second),
            }
    if len(wide):
        correct, k = wide.correct[:, :, 0], wide.correct.shape[1]
        values["maj"] = pass_at_k.maj_at_k(wide.answer[:, :, 0], correct, k)
        values["pass"] = pass_at_k.pass_at_k(correct, k)
        if not np.isnan(wide.score).any():
            values["rerank"] = best_at_k(wide.score[:, :, 0], correct, k)
        values["unique"] = unique_solutions(wide.text[:, :, 0], correct).astype(float)
    return values


def per_problem(run: Run) -> dict[str, Float[np.ndarray, " p"]]:
    """Each figure of a finished run, greedy, on each problem."""
    base, trained = (select(run.episodes, phase, "greedy") for phase in ("base", "trained"))
    if not len(trained) or list(base.problem) != list(trained.problem):
        raise UserError(f"run={run.folder}: no finished run; allowed: one that ended with its table")
    accuracy = self_correction.accuracy(trained.correct)
    if trained.turns < 2:
        return {"acc_t1": accuracy[:, 0], "gain_t1": accuracy[:, 0] - self_correction.accuracy(base.correct)[:, 0]}
    first, second = trained.correct[:, :, 0], trained.correct[:, :, 1]
    return {
        "acc_t1": accuracy[:, 0],
        "acc_t2": accuracy[:, 1],
        "delta": self_correction.delta(first, second),
        "i_to_c": self_correction.i_to_c(first, second),
        "c_to_i": self_correction.c_to_i(first, second),
        "gain": accuracy[:, 1] - self_correction.accuracy(base.correct)[:, 1],
    }


UNEDITED_BELOW = 0.1  # edit-distance ratio below which SCoRe's Figure 3 has its spike
SWEEP_EDIT_DISTANCE_BINS = 20  # of the edit-distance histogram

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
        found, new_curves = _phase(run.episodes, phase)
        values |= {f"{prefix}{name}": value for name, value in found.items()}
        curves |= {f"{prefix}{name}": curve for name, curve in new_curves.items()}
    if learning := _learning(run):
        curves["learning"] = learning
    cost = {key: float(value) for key, value in run.summary.get("cost", {}).items()}
    has_counts = {"imitated", "episodes", "sampled_tokens"} <= run.student.keys()
    if has_counts and {"student.mean", "base.mean", "generated.mean"} <= values.keys():
        cost |= {"imitated": float(run.student["imitated"]), "generated_tokens": float(run.student["sampled_tokens"])}
        values |= _for_its_cost(values, cost, float(run.student["episodes"]), curves["generated.pass"].x[-1])
    return Measured(values, curves, cost)


def _for_its_cost(values: Values, cost: Mapping[str, float], replies: float, k: float) -> Values:
    """Return the generated solutions and the student's gain per reply and per token of training and generation.

    Args:
        values: The metrics of the run.
        cost: The cost of the run.
        replies: The number of generated replies.
        k: The number of replies to each of the problems of the ``generated`` metrics.
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
    greedy = select(episodes, phase, "greedy")
    if len(greedy):
        found, new_curves = _greedy(greedy)
        values, curves = values | found, curves | new_curves
    wide = select(episodes, phase, "wide")
    if len(wide):
        found, new_curves = _wide(wide)
        values, curves = values | found, curves | new_curves
        if "score" in episodes:
            score = np.array(episodes["score"], dtype=float)[wide.row[:, :, 0]]
            if not np.isnan(score).any():
                values["rerank"] = best_at_k(score, wide.correct[:, :, 0], score.shape[1])
    sampled = select(episodes, phase, "sampled")
    if len(sampled) and sampled.turns > 1 and sampled.correct.shape[1] > 3:
        found, new_curves = _votes(sampled)
        values, curves = values | found, curves | new_curves
    fixed = select(episodes, phase, "fixed")
    if len(fixed) and fixed.turns > 1:
        values["fixed_t2"] = fixed.correct[:, :, 1].mean(axis=1)
        values["fixed_i_to_c"] = self_correction.i_to_c(fixed.correct[:, :, 0], fixed.correct[:, :, 1])
    return values, curves


def _greedy(table: EpisodeTable) -> tuple[Values, dict[str, Curve]]:
    accuracy = self_correction.accuracy(table.correct)
    values = {f"acc_t{turn + 1}": accuracy[:, turn] for turn in range(table.turns)}
    values["tokens"] = table.tokens.sum(axis=2).mean(axis=1).astype(float)
    sure, right = confidence.mean_logp(table.logp, table.tokens)[:, 0], table.correct[:, 0]
    surer = {
        f"auroc_t{t + 1}": confidence.auroc_by_problem(sure[:, t], right[:, t]) for t in range(min(2, table.turns))
    }
    values |= {name: value for name, value in surer.items() if not np.isnan(value).any()}
    if table.turns < 2:
        return values, {}
    first, second = table.correct[:, :, 0], table.correct[:, :, 1]
    ratio = self_correction.edit_distance(table.text[:, :, 0], table.text[:, :, 1])
    values |= {
        "delta": self_correction.delta(first, second),
        "i_to_c": self_correction.i_to_c(first, second),
        "c_to_i": self_correction.c_to_i(first, second),
        "change_rate": self_correction.change_rate(table.answer[:, :, 0], table.answer[:, :, 1]),
        "copy_rate": self_correction.copy_rate(table.text[:, :, 0], table.text[:, :, 1]),
        "edit_distance": ratio.mean(axis=1),
        "unedited": (ratio < UNEDITED_BELOW).mean(axis=1),
    }
    values |= _lasting(table) | _by_level(table, accuracy) | self_correction.rates(first[:, 0], second[:, 0])
    within = np.minimum((ratio[:, 0] * SWEEP_EDIT_DISTANCE_BINS).astype(int), SWEEP_EDIT_DISTANCE_BINS - 1)
    histogram = Curve(
        tuple(i / SWEEP_EDIT_DISTANCE_BINS for i in range(SWEEP_EDIT_DISTANCE_BINS)),
        np.eye(SWEEP_EDIT_DISTANCE_BINS)[within],
    )
    return values, {"edits": histogram, "attempts": Curve(tuple(range(1, table.turns + 1)), accuracy)}


def _lasting(table: EpisodeTable) -> Values:
    """The second attempt against (1 - e)^n (``metric.survival``), n counted in steps and in tokens."""
    lengths = {"step": compounding_error.count_steps(table.text), "token": table.tokens}
    return {
        f"{unit}_{name}": value
        for unit, length in lengths.items()
        for name, value in compounding_error.by_problem(length, table.correct).items()
    }


def _by_level(table: EpisodeTable, accuracy: Float[np.ndarray, "p k"]) -> Values:
    """Return the accuracy of both attempts for each level, if there are several levels."""
    levels = np.unique(table.level)
    return {
        f"level{level}.acc_t{turn + 1}": accuracy[table.level == level, turn]
        for turn in range(2)
        for level in levels
        if len(levels) > 1
    }


def _wide(table: EpisodeTable) -> tuple[Values, dict[str, Curve]]:
    correct, answer, k = table.correct[:, :, 0], table.answer[:, :, 0], table.correct.shape[1]
    values = {
        "mean": correct.mean(axis=1),
        "maj": pass_at_k.maj_at_k(answer, correct, k),
        "pass": pass_at_k.pass_at_k(correct, k),
        "unique": unique_solutions(table.text[:, :, 0], correct).astype(float),
    }
    various = within(table.text[:, :, 0], answer, np.ones_like(correct))
    values |= {name: various[name] for name in ("distinct_2", "vendi", "distinct_answers")}
    ks = _doubling(1, k)
    curve = Curve(tuple(ks), np.stack([pass_at_k.pass_at_k(correct, one) for one in ks], axis=1))
    return values, {"pass": curve}


def _votes(table: EpisodeTable) -> tuple[Values, dict[str, Curve]]:
    """Majority votes at equal budgets of attempts."""
    budgets = _doubling(2, table.correct.shape[1])
    lines = {
        "parallel": [pass_at_k.maj_at_k(table.answer[:, :, 0], table.correct[:, :, 0], b) for b in budgets],
        "sequential": [pass_at_k.maj_at_k(table.answer[:, :, 1], table.correct[:, :, 1], b // 2) for b in budgets],
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
    """Return the training accuracy of the last turn against sampled tokens, or None for a run that trains nothing."""
    rows: list[Any] = [row for row in run.metrics if "sampled_tokens" in row and "accuracy_t1" in row]
    if not rows:
        return None
    last = max(key for key in rows[0] if key.startswith("accuracy_t"))
    return Curve(tuple(float(r["sampled_tokens"]) for r in rows), np.array([[float(r.get(last, 0.0)) for r in rows]]))
