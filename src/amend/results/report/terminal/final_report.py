"""What a run prints when it ends: the table before and after training, transcripts, and the report's path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from amend.results.analysis.metric_registry import FIGURES
from amend.results.analysis.summary import compare
from amend.results.metrics.episode_table import Columns
from amend.results.report.formatting import points, printable, reason, shortened
from amend.results.report.terminal.tables import console
from amend.results.report.transcripts import WANTED, Transcript, choose


def final_table(summary: Mapping[str, Any], columns: Columns, report: Path) -> None:
    """Print before and after with 95 % intervals, three transcripts from the table of episodes, where the report is."""
    out = console()
    out.print()
    out.print(results(summary, columns))
    if (n := max(m.get("n", 0) for m in (summary.get("base", {}), summary.get("trained", {})))) > 0:
        out.print(
            Text(f"{n} test problems; in points of all of them, with 95 % intervals.", style="dim"), soft_wrap=True
        )
    for kind, found in choose(columns).items():
        out.print()
        print_transcript(out, kind, found)
    out.print()
    out.print(Text(f"report: {report}"), soft_wrap=True)


def results(summary: Mapping[str, Any], columns: Columns) -> Table:
    """Return the final table: greedy and, if it was evaluated, sampled."""
    phases = [phase for phase in ("base", "trained") if summary.get(phase, {}).get("n", 0)]
    table = Table(
        box=SIMPLE_HEAD, title=Text(f"{summary.get('algo', '')} on {summary.get('task', '')}"), title_justify="left"
    )
    table.add_column("")
    for phase in phases:
        table.add_column(phase, justify="right", no_wrap=True)
    if len(phases) == 2:
        table.add_column("change", justify="right", no_wrap=True)
    sampled = summary.get("sampled", {})
    for decoding, figures in (("greedy", summary), ("sampled", sampled)):
        names = [name for name in FIGURES if any(name in figures.get(phase, {}) for phase in phases)]
        if not names:
            continue
        change = compare(columns, decoding) if len(phases) == 2 else {}
        table.add_section()
        table.add_row(Text(decoding, style="bold"))
        for name in names:
            cells = [points(figures.get(phase, {}).get(name), signed=name == "delta") for phase in phases]
            if len(phases) == 2:
                cells.append(points(change.get(name), signed=True))
            table.add_row(FIGURES[name], *cells)
    return table


def print_transcript(out: Console, kind: str, found: Transcript | None) -> None:
    """One episode, question to verdicts, or a line that says there is none."""
    meaning = f"{WANTED[kind]}, {kind}" if kind in WANTED else kind
    if found is None:
        out.print(Text(f"{meaning}: no such episode", style="dim"), soft_wrap=True)
        return
    head = Text(meaning, style="bold")
    head.append(f"  ({found.phase} model, {found.decoding}, problem {printable(found.problem)})", style="dim")
    out.print(head, soft_wrap=True)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("question", Text(printable(found.question)))
    for turn, attempt in enumerate(found.attempts, start=1):
        mark = Text("✓ right" if attempt.correct else "✗ wrong", style="green" if attempt.correct else "red")
        if reason_text := reason(attempt.correct, attempt.reason):
            mark.append(f": {printable(reason_text)}", style="default")
        grid.add_row(f"attempt {turn}", Text(printable(shortened(attempt.text))))
        grid.add_row("", mark)
    out.print(grid)
