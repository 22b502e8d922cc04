"""Tables for the terminal: seeds, algorithms, and differences to the baseline."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from amend.results.analysis.metric_registry import GREEDY, SEED_FIGURES, WIDE
from amend.results.analysis.pooling import compared, pool
from amend.results.analysis.rliable_aggregates import BASELINE, AggregateScore, aggregate_scores, in_parts
from amend.results.stats.power_analysis import POWER


def baseline_table(
    found: Mapping[str, Mapping[str, Any]], name: str, label: str, ranks: Mapping[str, AggregateScore]
) -> Table:
    """Return the differences of every algorithm to the baseline in one metric, with the required sample size."""
    table = Table(title=f"{label} less {BASELINE}'s", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("trained", "difference", "Holm's p", "P(improvement)", "required sample size"):
        table.add_column(
            column, justify="left" if column in ("trained", "required sample size") else "right", no_wrap=True
        )
    for algo, of in found.items():
        if name in of:
            mean, low, high = (100 * of[name][end] for end in ("mean", "low", "high"))
            chance = ranks[algo].chance if algo in ranks else None
            better = in_parts(chance) if chance else "-"
            table.add_row(
                algo, f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]", f"{of[name]['p']:.2g}", better, of[name]["would"]
            )
    table.caption = (
        "P(improvement): that a run is better than one of the baseline on a subject, with an interval over seeds alone "
        f"(Agarwal et al. 2021). Required sample size: detects a difference of this size with {POWER:.0%} power."
    )
    table.caption_justify = "left"
    return table


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
    for label in ("tokens", "steps", "s", "a problem"):
        wide.add_column(label, justify="right", no_wrap=True)
    for entry in entries:
        found, cost = entry["figures"], entry["cost"]
        greedy.add_row(entry["algo"], *(_cell(found.get(name), name) for name in GREEDY))
        asked = f"{cost['tokens_per_problem']:.0f}" if "tokens_per_problem" in cost else "-"
        counters = (
            f"{cost['sampled_tokens'] / 1000:.0f}k",
            f"{cost['optimizer_steps']:.0f}",
            f"{cost['seconds']:.0f}",
            asked,
        )
        wide.add_row(entry["algo"], *(_cell(found.get(name), name) for name in several), *counters)
    differences = {entry["algo"]: entry["against"] for entry in entries if "against" in entry}
    name = "acc_t2" if any("acc_t2" in of for of in differences.values()) else "acc_t1"
    ranks, _, _ = aggregate_scores({entry["algo"]: entry["subjects"] for entry in entries})
    return [greedy, wide, *([baseline_table(differences, name, GREEDY[name], ranks)] if differences else [])]


def _cell(interval: dict[str, float] | None, name: str) -> str:
    """In points; unique solutions as a number."""
    if interval is None:
        return "-"
    mean, low, high = (interval[key] * (1 if name == "unique" else 100) for key in ("mean", "low", "high"))
    return f"{mean:{'+' if name == 'delta' else ''}.1f} [{low:.1f}, {high:.1f}]"


def seeds_table(folders: Sequence[Path], title: str) -> Table:
    """Each seed a column, and all of them together with 95 % intervals, in points."""
    each, pooled = pool(folders)
    table = Table(title=title, title_justify="left")
    table.add_column("greedy, trained")
    for row in each:
        table.add_column(f"seed {row['seed']}", justify="right")
    table.add_column("all, 95 %", justify="right", no_wrap=True)
    for name, whole in pooled.items():
        cells = [f"{100 * row[name]:.1f}" for row in each]
        table.add_row(
            SEED_FIGURES[name], *cells, f"{100 * whole.mean:.1f} [{100 * whole.low:.1f}, {100 * whole.high:.1f}]"
        )
    table.add_row("seconds", *(f"{row['seconds']:.0f}" for row in each), "")
    return table


def console() -> Console:
    """Standard output, which never fails for a character that its encoding lacks: a lost Δ must not cost a run."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return Console(highlight=False)


PAGE = 128  # columns


def print_table(table: Table) -> None:
    """A table, by itself, and never narrower than a page: its columns are its point."""
    out = console()
    out.width = max(out.width, PAGE)
    out.print()
    out.print(table)
