"""Algorithms side by side: the papers' table, from finished runs, each figure over seeds and problems.

    Acc@t1, Acc@t2, delta, i->c, c->i      greedy, of the trained model                       SCoRe, Table 2
    maj@k, pass@k                          of many first attempts at temperature 1            Havrilla et al. 2024
    rerank@k                               the same attempts, chosen by eval.ranker, where one is given
    unique                                 different right solutions of a problem among them  the same
    a problem                              tokens drawn for it, greedy, replies not chosen included

Seeds and problems are separate sources of noise, and an interval is over both (``stat.many``); with one seed it is over
the problems alone. What an algorithm gains over ``untrained`` has a verdict of its own:
``amend.report.against``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.box import SIMPLE_HEAD
from rich.table import Table

from amend.metric import correction, passk
from amend.metric.rerank import best_at_k
from amend.metric.solutions import unique_solutions
from amend.metric.table import arrange
from amend.report.across import BASELINE, standings, subject_scores
from amend.report.against import against, against_table
from amend.report.files import Run, read_run
from amend.report.limits import limits, within
from amend.stat.interval import Interval
from amend.stat.many import over_runs


def figures(run: Run, phase: str) -> dict[str, Float[np.ndarray, " p"]]:
    """Each figure of a run's "trained" or "base" model on each problem."""
    greedy, wide = arrange(run.episodes, phase, "greedy"), arrange(run.episodes, phase, "wide")
    values: dict[str, np.ndarray] = {}
    if len(greedy):
        accuracy = correction.accuracy(greedy.correct)
        values["acc_t1"] = accuracy[:, 0]
        if greedy.turns > 1:
            first, second = greedy.correct[:, :, 0], greedy.correct[:, :, 1]
            values |= {
                "acc_t2": accuracy[:, 1],
                "delta": correction.delta(first, second),
                "i_to_c": correction.i_to_c(first, second),
                "c_to_i": correction.c_to_i(first, second),
            }
    if len(wide):
        correct, k = wide.correct[:, :, 0], wide.correct.shape[1]
        values["maj"] = passk.maj_at_k(wide.answer[:, :, 0], correct, k)
        values["pass"] = passk.pass_at_k(correct, k)
        if not np.isnan(wide.score).any():
            values["rerank"] = best_at_k(wide.score[:, :, 0], correct, k)
        values["unique"] = unique_solutions(wide.text[:, :, 0], correct).astype(float)
    return values


def compared(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """One entry an algorithm, in the order in which they first appear: figures with intervals, seeds, cost."""
    runs: dict[str, list[Run]] = {}
    for folder in folders:
        run = read_run(folder)
        runs.setdefault(str(run.summary.get("algo", "?")), []).append(run)
    values = {name: _values(some) for name, some in runs.items()}
    told = against(values, HELD, BASELINE)
    return [
        {**_entry(name, some, values[name]), **({"against": told[name]} if name in told else {})}
        for name, some in runs.items()
    ]


def _values(runs: list[Run]) -> dict[str, Float[np.ndarray, "s p"]]:
    """Each figure of one algorithm's runs, a row a seed."""
    each = [figures(run, "trained") for run in runs]
    return {key: np.stack([values[key] for values in each]) for key in each[0]}


def _entry(name: str, runs: list[Run], values: dict[str, Float[np.ndarray, "s p"]]) -> dict[str, Any]:
    intervals = {key: pooled(key, value) for key, value in values.items()}
    cost = {
        key: float(np.mean([run.summary["cost"][key] for run in runs]))
        for key in ("seconds", "sampled_tokens", "episodes", "updates", "tokens_per_problem")
        if all(key in run.summary["cost"] for run in runs)
    }
    k = arrange(runs[0].episodes, "trained", "wide").correct.shape[1]
    plain = {key: {n: float(v) for n, v in interval._asdict().items()} for key, interval in intervals.items()}
    subjects = [subject_scores(arrange(run.episodes, "trained", "greedy")) for run in runs]
    return {
        "algo": name,
        "seeds": [run.summary["seed"] for run in runs],
        "k": k,
        "figures": plain,
        "cost": cost,
        "subjects": subjects,
    }


def pooled(name: str, values: Float[np.ndarray, "s p"]) -> Interval:
    """A figure over seeds (rows) and problems; with one seed over problems alone."""
    return within(over_runs(values[None])[0], *limits(name))


HELD = ("acc_t1", "acc_t2", "delta", "maj", "pass")  # the figures that are held against the baseline
GREEDY = {"acc_t1": "Acc@t1 = maj@1", "acc_t2": "Acc@t2", "delta": "Δ(t1,t2)", "i_to_c": "i→c", "c_to_i": "c→i"}
WIDE = {"maj": "maj@{k}", "rerank": "rerank@{k}", "pass": "pass@{k}", "unique": "unique"}


def comparison_tables(folders: Sequence[Path], budget: int) -> list[Table]:
    """Greedy figures; then those of many samples, and what each run cost. An algorithm a row, 95 % intervals."""
    entries = compared(folders)
    k = max((entry["k"] for entry in entries), default=0)
    seeds = max((len(entry["seeds"]) for entry in entries), default=0)
    head = f"{len(entries)} algorithms, {seeds} seeds, {budget:,} sampled tokens each"
    several = {name: label for name, label in WIDE.items() if any(name in entry["figures"] for entry in entries)}
    greedy, wide = (
        Table(title=f"{head}: {what}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for what in ("greedy", f"{k} samples")
    )
    for table, labels in ((greedy, GREEDY), (wide, several)):
        table.add_column("trained", no_wrap=True)
        for label in labels.values():
            table.add_column(label.format(k=k), justify="right", no_wrap=True)
    for label in ("tokens", "updates", "s", "a problem"):
        wide.add_column(label, justify="right", no_wrap=True)
    for entry in entries:
        found, cost = entry["figures"], entry["cost"]
        greedy.add_row(entry["algo"], *(_cell(found.get(name), name) for name in GREEDY))
        asked = f"{cost['tokens_per_problem']:.0f}" if "tokens_per_problem" in cost else "-"
        spent = (f"{cost['sampled_tokens'] / 1000:.0f}k", f"{cost['updates']:.0f}", f"{cost['seconds']:.0f}", asked)
        wide.add_row(entry["algo"], *(_cell(found.get(name), name) for name in several), *spent)
    told = {entry["algo"]: entry["against"] for entry in entries if "against" in entry}
    name = "acc_t2" if any("acc_t2" in of for of in told.values()) else "acc_t1"
    ranks, _, _ = standings({entry["algo"]: entry["subjects"] for entry in entries})
    return [greedy, wide, *([against_table(told, name, GREEDY[name], ranks)] if told else [])]


def _cell(interval: dict[str, float] | None, name: str) -> str:
    """In points; unique solutions as a number."""
    if interval is None:
        return "-"
    mean, low, high = (interval[key] * (1 if name == "unique" else 100) for key in ("mean", "low", "high"))
    return f"{mean:{'+' if name == 'delta' else ''}.1f} [{low:.1f}, {high:.1f}]"


def write_comparison(path: Path, folders: Sequence[Path]) -> Path:
    """The same figures as JSON, for whoever draws them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(compared(folders), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
