"""Many runs as one study: what each condition shows, as tables of intervals and as curves, without presentation.

    Run folders -> Group (runs that differ only in their seed) -> Study (sheets, figures, notes)

Every report is made from a Study: the HTML page, the CSV, Markdown and LaTeX files, the JSON of its figures and the W&B
report. Intervals are over the seeds and problems of a group. Unfinished runs are left out and named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from amend.errors import UserError
from amend.results.analysis.baseline_comparison import gain, unresolved
from amend.results.analysis.condition_labels import labels
from amend.results.analysis.metric_registry import (
    BEYOND,
    BEYOND_NOTE,
    EDIT_DISTANCE_BINS,
    GREEDY,
    PER_PROBLEM_RATES,
    WIDE,
    clip_interval,
    metric_range,
)
from amend.results.analysis.rliable_aggregates import TAUS, across, performance_profiles
from amend.results.analysis.run_extract import COST, RunExtract, grouped, stacks_of
from amend.results.stats.random_effects import interval_over_runs

BASE = "base model"
GRID = 40  # points of a learning curve


class Cell(NamedTuple):
    """A metric and the ends of its 95 % interval; None for a plain number."""

    mean: float
    low: float | None
    high: float | None


Cells = dict[str, Cell]


class Column(NamedTuple):
    """A column of a sheet. ``unit`` is "points" (fractions, shown times 100), "number" or "count"; signed shows +."""

    key: str
    label: str
    unit: str
    signed: bool


class Row(NamedTuple):
    """A row of a sheet: a group by its index in ``Study.groups``, and its cells; None for an empty cell."""

    group: int
    cells: tuple[Cell | None, ...]


class Sheet(NamedTuple):
    """A table of the study."""

    key: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    lines: tuple[str, ...]
    """Sentences below the table."""


class Series(NamedTuple):
    """The line of one group; ``low`` and ``high`` bound its band, and are empty without a band."""

    group: int
    y: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


class Figure(NamedTuple):
    """A figure of the study.

    ``kind`` is "curve", "log" (a curve over powers of two), "bars" or "profile" (a curve over accuracy); ``unit`` is
    "%" or "".
    """

    key: str
    kind: str
    title: str
    note: str
    x_label: str
    unit: str
    x: tuple[float, ...]
    series: tuple[Series, ...]


class Group(NamedTuple):
    """Runs of one configuration. ``folders`` are the paths that the user typed; the base model has no folder."""

    label: str
    algo: str
    task: str
    seeds: tuple[int, ...]
    folders: tuple[str, ...]
    problems: int


class Study(NamedTuple):
    """All that a report of several runs says, the attempts apart. The first group is the base model."""

    title: str
    groups: tuple[Group, ...]
    sheets: tuple[Sheet, ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]
    commits: tuple[str, ...]


# many runs ----------------------------------------------------------------------------------------------------------

GAINS = {"acc_t1": "Acc@t1", "acc_t2": "Acc@t2", "delta": "Δ(t1,t2)", "pass": "pass@{k}"}
CURVES = {
    "accuracy_t1": ("Training accuracy, turn 1", ""),
    "accuracy_t2": ("Training accuracy, turn 2", ""),
    "delta": ("Gain of the second attempt while training", "%"),
    "change_rate": ("Answer changed at turn 2", "%"),
    "kl_t1": ("KL to the base model, turn 1 (nats)", ""),
    "kl_t2": ("KL to the base model, turn 2 (nats)", ""),
    "entropy": ("Entropy (nats a token)", ""),
    "response_length/clip_ratio": ("Replies cut off", "%"),
    "frac_reward_zero_std": ("Problems with equal rewards", "%"),
}
"""The plotted keys of metrics.jsonl, with title and unit."""


def study(folders: Sequence[Path], found: Sequence[RunExtract]) -> Study:
    """Return the study of ``found``, the runs in ``folders``; UserError if no run has finished."""
    if not found:
        raise UserError(
            f"runs: none of {len(folders)} folders holds a finished run; allowed: folders with summary.json"
        )
    groups = grouped(found)
    names = labels([(g[0].algo, g[0].task, g[0].command, g[0].config) for g in groups])
    base = Group(BASE, "", groups[0][0].task, (), (), _problems(groups[0][:1], "base"))
    listed = [base] + [
        Group(
            name, runs[0].algo, runs[0].task, tuple(run.seed for run in runs), tuple(str(run.folder) for run in runs),
            _problems(runs, "trained"),
        )
        for name, runs in zip(names, groups, strict=True)
    ]  # fmt: skip
    k = max((int(n[5:]) for run in found for n in run.values["trained"] if n.startswith("pass@")), default=0)
    pooled = [pool(groups[0][:1], "base"), *(pool(runs, "trained") for runs in groups)]
    by_subject = {name: [run.by_subject for run in runs] for name, runs in zip(names, groups, strict=True)}
    standing = across(by_subject)
    sheets = (
        _figures_sheet("greedy", "Greedy", GREEDY, pooled, k, standing),
        _figures_sheet("wide", "Many samples", WIDE, pooled, k, ""),
        _gains(groups, names, k),
        _beyond(groups, pooled),
        _cost(groups),
    )
    figures = (
        *_learning(groups),
        _over_k("pass", "pass@k", pooled),
        _over_k("maj", "maj@k", pooled),
        _edits(groups),
        _profiles(names, performance_profiles(by_subject)),
    )
    return Study(
        title=_title(listed),
        groups=tuple(listed),
        sheets=tuple(sheet for sheet in sheets if sheet.rows),
        figures=tuple(figure for figure in figures if figure.series),
        notes=tuple(_notes(folders, found, groups)),
        commits=tuple(sorted({run.commit for run in found} - {""})),
    )


def _title(groups: Sequence[Group]) -> str:
    """Who is compared, on what."""
    names = [group.label for group in groups[1:]]
    tasks = " and ".join(sorted({group.task for group in groups}))
    return f"{', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''} on {tasks}"


def _problems(runs: Sequence[RunExtract], phase: str) -> int:
    return max((len(ids) for run in runs for ids, _ in run.values[phase].values()), default=0)


def pool(runs: Sequence[RunExtract], phase: str) -> Cells:
    """Every figure of a phase ("base", "trained") over a group's seeds and problems.

    One that a run lacks is left out.
    """
    stacks: dict[tuple[int, ...], list[tuple[str, Float[np.ndarray, "s p"]]]] = {}
    for name, stacked in stacks_of(runs, phase).items():
        stacks.setdefault(stacked.shape, []).append((name, stacked))
    cells: Cells = {}
    for figures in stacks.values():
        intervals = interval_over_runs(np.stack([values for _, values in figures]))
        cells |= {
            name: Cell(*clip_interval(i, *metric_range(name))) for (name, _), i in zip(figures, intervals, strict=True)
        }
    return cells


def _figures_sheet(key: str, title: str, names: Mapping[str, str], pooled: Sequence[Cells], k: int, said: str) -> Sheet:
    """The base model's line, then a line a group; a column for each figure that any of them has."""
    names = {name: label for name, label in names.items() if any(name in cells for cells in pooled)}
    columns = tuple(
        Column(name, label.format(k=k), "number" if name == "unique" else "points", name == "delta")
        for name, label in names.items()
    )
    note = {
        "greedy": "The trained models' greedy attempts, in points of all problems.",
        "wide": f"{k} first attempts at a problem, sampled; unique: different right solutions of a problem.",
    }[key]
    return Sheet(key, title, note, columns, _rows(names, pooled), (said,) if said else ())


def _rows(names: Iterable[str], pooled: Sequence[Cells]) -> tuple[Row, ...]:
    """A row for each group that has any of the figures."""
    rows = (Row(i, tuple(cells.get(name) for name in names)) for i, cells in enumerate(pooled))
    return tuple(row for row in rows if any(row.cells))


def _gains(groups: Sequence[list[RunExtract]], names: Sequence[str], k: int) -> Sheet:
    """Return trained minus base on the same problems, and the required sample size of unresolved gains."""
    found: list[Cells] = [{}]
    lines = []
    for label, runs in zip(names, groups, strict=True):
        values = {name: value for name, value in stacks_of(runs, "gain").items() if name in GAINS}
        found.append({name: Cell(*gain(value)) for name, value in values.items()})
        said = (unresolved(value, GAINS[name].format(k=k)) for name, value in values.items())
        lines += [f"{label}, {line}" for line in said if line]
    note = (
        "Trained minus base on the same problems, in points; t intervals over seeds and problems. A gain whose "
        "interval contains 0 is not resolved."
    )
    kept = [name for name in GAINS if any(name in cells for cells in found)]
    columns = tuple(Column(name, GAINS[name].format(k=k), "points", True) for name in kept)
    return Sheet("gain", "Change from the base model", note, columns, _rows(kept, found), tuple(lines))


def _beyond(groups: Sequence[list[RunExtract]], pooled: Sequence[Cells]) -> Sheet:
    """What no other table shows: rates of some of the problems, and what the runs' own summaries hold."""
    each = [("base", groups[0][:1]), *(("trained", runs) for runs in groups)]
    said = [
        _means([run.beyond[phase] for run in runs]) | {name: cells[name] for name in PER_PROBLEM_RATES if name in cells}
        for (phase, runs), cells in zip(each, pooled, strict=True)
    ]
    names = [name for name in BEYOND if any(name in cells for cells in said)]
    columns = tuple(Column(name, *BEYOND[name], False) for name in names)
    return Sheet("beyond", "Beyond accuracy", BEYOND_NOTE, columns, _rows(names, said), ())


def _means(each: Sequence[Mapping[str, float]]) -> Cells:
    """Of each figure that all runs have, the mean, as a plain number."""
    names = [name for name in each[0] if all(name in one for one in each)]
    return {name: Cell(float(np.mean([one[name] for one in each])), None, None) for name in names}


def _cost(groups: Sequence[list[RunExtract]]) -> Sheet:
    """What a run of each group cost, on average over its seeds."""
    columns = (
        Column("seeds", "seeds", "count", False),
        *(Column(key, label, "count", False) for key, label in COST.items()),
    )
    rows = []
    for i, runs in enumerate(groups, 1):
        cells: list[Cell | None] = [Cell(float(len(runs)), None, None)]
        for key in COST:
            there = [run.cost[key] for run in runs if key in run.cost]
            cells.append(Cell(float(np.mean(there)), None, None) if there else None)
        rows.append(Row(i, tuple(cells)))
    return Sheet("cost", "Cost", "Of training, a run, averaged over its seeds.", columns, tuple(rows), ())


def _learning(groups: Sequence[list[RunExtract]]) -> list[Figure]:
    """Return every curve on a common grid of sampled tokens: averages over iterations, then over seeds."""
    most = max((float(r.metrics[-1].get("sampled_tokens", 0)) for g in groups for r in g if r.metrics), default=0.0)
    if not most:
        return []
    edges = np.linspace(0, most, GRID + 1)
    figures = []
    for key, (title, unit) in CURVES.items():
        series = []
        for i, runs in enumerate(groups, 1):
            each = np.array([_binned(run.metrics, key, edges) for run in runs])
            if np.isfinite(each).any():
                series.append(_over_seeds(i, each))
        note = "At equal sampled tokens; the line is the mean of the seeds, the shade their range."
        x = tuple(float(v) for v in edges[1:])
        figures.append(Figure(f"training_{key}", "curve", title, note, "sampled tokens", unit, x, tuple(series)))
    return figures


def _binned(metrics: Sequence[Mapping[str, Any]], key: str, edges: Float[np.ndarray, " e"]) -> list[float]:
    """Interpolate a metric at equal numbers of sampled tokens; nan outside the run."""
    sums, counts = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for row in metrics:
        value, tokens = row.get(key), row.get("sampled_tokens")
        if isinstance(value, int | float) and isinstance(tokens, int | float) and np.isfinite(value):
            at = min(int(np.searchsorted(edges, tokens, side="left")) - 1, len(counts) - 1)
            sums[max(at, 0)] += value
            counts[max(at, 0)] += 1
    there = np.flatnonzero(counts)
    if not there.size:
        return [float("nan")] * len(counts)
    steps = np.arange(len(counts))
    return np.interp(steps, there, sums[there] / counts[there], left=np.nan, right=np.nan).tolist()


def _over_seeds(group: int, each: Float[np.ndarray, "s x"]) -> Series:
    """Return the mean over seeds and, for several seeds, their range; a seed without a value at a point is ignored."""
    known = np.isfinite(each)
    some = known.any(axis=0)
    mean = np.where(known, each, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    low, high = np.where(known, each, np.inf).min(axis=0), np.where(known, each, -np.inf).max(axis=0)

    def kept(values: Float[np.ndarray, " x"]) -> tuple[float | None, ...]:
        return tuple(float(v) if there else None for v, there in zip(values, some, strict=True))

    return Series(group, kept(mean), kept(low), kept(high)) if len(each) > 1 else Series(group, kept(mean), (), ())


def _over_k(name: str, title: str, pooled: Sequence[Cells]) -> Figure:
    """A figure of the first k of many samples, for k = 1, 2, 4, ..., with its interval."""
    ks = sorted({int(key.partition("@")[2]) for cells in pooled for key in cells if key.startswith(f"{name}@")})
    series = []
    for i, cells in enumerate(pooled):
        found = [cells.get(f"{name}@{k}") for k in ks]
        if any(found):
            of = [tuple(None if cell is None else cell[part] for cell in found) for part in range(3)]
            series.append(Series(i, *of))
    note = {
        "pass": "The chance that one of k first attempts is right: the unbiased estimate.",
        "maj": "The chance that the most frequent answer of k first attempts is right; ties are shared.",
    }[name]
    return Figure(name, "log", title, f"{note} Shade: 95 % intervals.", "k", "%", tuple(map(float, ks)), tuple(series))


def _edits(groups: Sequence[list[RunExtract]]) -> Figure:
    """How far greedy second attempts are from first ones, in ten bins; the seeds' average."""
    lines = [(0, groups[0][:1], "base"), *((i, runs, "trained") for i, runs in enumerate(groups, 1))]
    series = [
        Series(i, tuple(np.mean([run.edits[phase] for run in runs], axis=0).tolist()), (), ())
        for i, runs, phase in lines
        if all(phase in run.edits for run in runs)
    ]
    note = "Levenshtein distance of the two greedy attempts / sum of their lengths; 0 is a copy."
    x = tuple(i / EDIT_DISTANCE_BINS for i in range(EDIT_DISTANCE_BINS))
    title = "How much second attempts rewrite"
    return Figure("edits", "bars", title, note, "edit distance ratio", "%", x, tuple(series))


def _profiles(names: Sequence[str], shares: Mapping[str, Sequence[float]]) -> Figure:
    """How many of a group's scores, one a seed and subject, are above each accuracy."""
    series = [Series(i, tuple(shares[name]), (), ()) for i, name in enumerate(names, 1) if name in shares]
    note = (
        "Performance profiles (Agarwal et al. 2021) of the last greedy attempt: the share of seeds and subjects on "
        "which accuracy is above x. A line that lies above another's everywhere is the better algorithm everywhere."
    )
    return Figure(
        "profile", "profile", "Seeds and subjects above an accuracy", note, "accuracy", "%", tuple(TAUS.tolist()),
        tuple(series),
    )  # fmt: skip


def _notes(folders: Sequence[Path], found: Sequence[RunExtract], groups: Sequence[list[RunExtract]]) -> list[str]:
    """What a reader must know before believing the tables."""
    notes = []
    kept = {run.folder for run in found}
    if unfinished := [str(folder) for folder in folders if folder not in kept]:
        notes.append(
            f"{len(unfinished)} unfinished left out: {', '.join(unfinished[:5])}{' ...' * (len(unfinished) > 5)}."
        )
    if older := len(found) - sum(map(len, groups)):
        notes.append(f"{older} runs were run again with the same seed; the newest of each counts.")
    seeds = sorted({len(runs) for runs in groups})
    if seeds[0] == 1:
        notes.append(
            "A condition with one seed speaks of that run, not of the algorithm: its interval is over problems only."
        )
    elif seeds[0] < 5:
        notes.append(f"{seeds[0]} seeds are few: their t intervals are as wide as that makes them.")
    if len({run.task for run in found}) > 1:
        notes.append("These runs solve different tasks: compare within a task.")
    bases = {(run.task, *map(float, run.values["base"].get("acc_t1", ((), np.zeros(0)))[1])) for run in found}
    if len(bases) > 1:
        notes.append(
            "These runs do not all start from the same base model on the same problems; the base line is the first's."
        )
    return notes
