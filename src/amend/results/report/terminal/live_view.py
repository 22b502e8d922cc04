"""The run in a terminal: a live panel during training, then the table, three transcripts and the path of the report.

If standard output is no terminal (a file, a pipe, CI), the same facts are printed on plain lines, one per iteration.
Texts of models may be hostile: control characters, which could move the cursor or recolour the screen, are printed as
escapes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from amend.results.report.formatting import clock, printable
from amend.results.report.terminal.tables import console

SPARKS = "▁▂▃▄▅▆▇█"
RECENT = 10  # iterations from which the remaining time is estimated
STYLES = ("cyan", "yellow", "magenta")


class View:
    """What a running job looks like. ``total_iterations`` is 0 for a job that does not train."""

    def __init__(self, total_iterations: int) -> None:
        self._console = console()
        self._total = total_iterations
        self._title = ""
        self._facts: Mapping[str, str] = {}
        self._phase = ""
        self._began = time.monotonic()
        self._rows: list[Mapping[str, Any]] = []
        self._seconds: list[float] = []
        self._timing: Mapping[str, Any] = {}
        self._live: Live | None = None

    def start(self, title: str, facts: Mapping[str, str]) -> None:
        """Begin to show: a title and what is known of the run."""
        self._title, self._facts = title, facts
        if self._console.is_terminal:
            # Written by calls and by a clock: evaluation is silent for many seconds and its time should still move.
            self._live = Live(get_renderable=self._panel, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
            return
        self._say(title)
        for name, value in facts.items():
            self._say(f"  {name}: {value}")

    def phase(self, name: str) -> None:
        """Show that a long phase other than an iteration begins, such as "evaluating the base model"."""
        self._phase, self._began = name, time.monotonic()
        if self._live is None:
            self._say(f"{name} ...")
        else:
            self._live.refresh()

    def log_iteration(self, metrics: Mapping[str, Any], timing: Mapping[str, Any]) -> None:
        """Show a finished iteration: its line of metrics.jsonl and of timing.jsonl, in which any key may be missing."""
        self._phase = ""
        self._rows.append(metrics)
        self._timing = timing
        if "seconds" in timing:
            self._seconds = [*self._seconds, float(timing["seconds"])][-RECENT:]
        if self._live is None:
            self._say(self._line(metrics, timing))

    def note(self, text: str) -> None:
        """A word to the user, above the panel."""
        self._console.print(Text(f"note: {printable(text)}", style="yellow"), soft_wrap=True)

    def stop(self) -> None:
        """Stop showing; may be called twice. What the panel showed last stays on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            if self._rows:
                self._console.print(self._panel())

    # plain -----------------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._console.print(Text(printable(text)), soft_wrap=True)

    def _line(self, metrics: Mapping[str, Any], timing: Mapping[str, Any]) -> str:
        """Describe one iteration in one line."""
        number = metrics.get("iteration", len(self._rows))
        parts = [f"iteration {number}/{self._total}" if self._total else f"iteration {number}"]
        if metrics.get("stage"):
            parts.append(f"stage {metrics['stage']}")
        parts += [f"r{turn} {value:.3f}" for turn, value in _turns(metrics, "reward_t").items()]
        parts += [f"KL{turn} {value:.4f}" for turn, value in _turns(metrics, "kl_t").items()]
        for name, key in (("changed", "change_rate"), ("cut", "response_length/clip_ratio")):
            if key in metrics:
                parts.append(f"{name} {100 * metrics[key]:.0f}%")
        if "tokens_per_second" in timing:
            parts.append(f"{timing['tokens_per_second']:,.0f} tok/s")
        if (left := self._left()) is not None:
            parts.append(f"{clock(left)} left")
        return "  ".join(parts)

    def _left(self) -> float | None:
        """Return the remaining seconds at the pace of recent iterations; a budget may end the run earlier."""
        if not self._seconds or not self._total:
            return None
        number = int(self._rows[-1].get("iteration", len(self._rows)))
        share = max(float(self._rows[-1].get("progress", 0.0)), number / self._total)
        iterations = number * (1 - share) / share if share else self._total
        return max(0.0, iterations) * sum(self._seconds) / len(self._seconds)

    # live ------------------------------------------------------------------------------------------------------------

    def _panel(self) -> RenderableType:
        wide = self._console.width >= 100
        parts: list[RenderableType] = [self._facts_grid(wide)]
        if self._phase:
            parts += [Text(), self._phase_line()]
        if self._rows:
            parts += [Text(), self._progress(), Text(), self._figures(wide)]
        return Panel(
            Group(*parts), title=Text(printable(self._title), style="bold"), title_align="left", padding=(0, 1)
        )

    def _facts_grid(self, wide: bool) -> Table:
        grid = Table.grid(padding=(0, 2))
        pairs = [(Text(name, style="dim"), Text(printable(value))) for name, value in self._facts.items()]
        for i in range(0, len(pairs), 2 if wide else 1):
            grid.add_row(*(cell for pair in pairs[i : i + (2 if wide else 1)] for cell in pair))
        return grid

    def _phase_line(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        grid.add_row(Text(self._phase), ProgressBar(pulse=True, width=24), clock(time.monotonic() - self._began))
        return grid

    def _progress(self) -> RenderableType:
        last = self._rows[-1]
        number = int(last.get("iteration", len(self._rows)))
        cells: list[RenderableType] = [Text(f"iteration {number}/{self._total}", style="bold")]
        if last.get("stage"):
            cells.append(Text(f"Stage {last['stage']}", style="bold cyan"))
        if self._console.width >= 76:  # what stands in words comes first
            share = float(last.get("progress", number / max(1, self._total)))
            cells.append(ProgressBar(total=1.0, completed=share, width=24))
        if "tokens_per_second" in self._timing:
            cells.append(Text(f"{self._timing['tokens_per_second']:,.0f} tokens/s"))
        if (left := self._left()) is not None:
            cells.append(Text(f"{clock(left)} left"))
        grid = Table.grid(padding=(0, 2))
        grid.add_row(*cells)
        return grid

    def _figures(self, wide: bool) -> Table:
        """Return the last value and the trend of every metric, one per line, in two columns if there is room."""
        last = self._rows[-1]
        entries: list[tuple[str, str, str, str]] = []
        for i, (turn, value) in enumerate(_turns(last, "reward_t").items()):
            entries.append((f"reward t{turn}", f"{value:.3f}", f"reward_t{turn}", STYLES[i % len(STYLES)]))
        for i, (turn, value) in enumerate(_turns(last, "kl_t").items()):
            entries.append((f"KL t{turn}", f"{value:.4f}", f"kl_t{turn}", STYLES[i % len(STYLES)]))
        for name, key in (
            ("answer changed", "change_rate"), ("i→c", "i_to_c"), ("c→i", "c_to_i"),
            ("cut off", "response_length/clip_ratio"), ("equal rewards", "frac_reward_zero_std"),
        ):  # fmt: skip
            if key in last:
                entries.append((name, f"{100 * last[key]:.1f} %", key, "default"))
        grid = Table.grid(padding=(0, 2))
        columns = 2 if wide else 1
        for _ in range(columns):
            grid.add_column(style="dim")
            grid.add_column(justify="right")
            grid.add_column(no_wrap=True)
        for i in range(0, len(entries), columns):
            cells: list[RenderableType] = []
            for name, text, key, style in entries[i : i + columns]:
                cells += [name, Text(text), Text(sparkline([r[key] for r in self._rows if key in r], 28), style=style)]
            grid.add_row(*cells)
        return grid


def sparkline(values: list[float], width: int) -> str:
    """The course of ``values`` in at most ``width`` characters, lowest to highest; neighbours are averaged to fit."""
    values = [float(v) for v in values if v == v]
    if len(values) > width:
        edges = [round(i * len(values) / width) for i in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = high - low
    return "".join(SPARKS[round((v - low) / span * (len(SPARKS) - 1)) if span else 0] for v in values)


def _turns(row: Mapping[str, Any], prefix: str) -> dict[int, float]:
    """The values of ``row`` whose keys are ``prefix`` and a turn's number, by turn."""
    turns = {
        int(key[len(prefix) :]): value
        for key, value in row.items()
        if key.startswith(prefix) and key[len(prefix) :].isdigit()
    }
    return dict(sorted(turns.items()))
