"""A study's tables as text: CSV for programs, Markdown for a page, LaTeX for a paper; and its figures' data as JSON.

All say the same numbers. Points are fractions times 100, with the ends of their 95 % intervals in brackets; the CSV has
fractions as they were measured, a line a figure, and the seeds and problems behind it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from amend.results.analysis.study import Cell, Column, Figure, Sheet, Study

PLACES = 11  # columns of a figure that is written as a table

ESCAPED = {"\\": r"\textbackslash{}", "Δ": r"$\Delta$", "→": r"$\to$", "±": r"$\pm$", "−": "-", "^": r"\^{}"} | {
    c: f"\\{c}" for c in "&%$#_{}"
}


def shown(cell: Cell | None, column: Column) -> tuple[str, str]:
    """A cell as people read it: the figure, and its interval or nothing."""
    if cell is None:
        return "", ""
    if column.unit == "count":
        return f"{cell.mean:,.0f}", ""
    scale = 100.0 if column.unit == "points" else 1.0
    form = "+.1f" if column.signed else ".1f"
    mean, *ends = (f"{scale * value + 0.0:{form}}" for value in cell if value is not None)
    return mean, f"[{', '.join(ends)}]" if ends else ""


def as_csv(study: Study) -> str:
    """Every figure of every table, a line each; fractions as fractions."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", "condition", "algo", "task", "figure", "mean", "low", "high", "seeds", "problems"])
    for sheet in study.sheets:
        for row in sheet.rows:
            group = study.groups[row.group]
            for column, cell in zip(sheet.columns, row.cells, strict=True):
                if cell is not None:
                    numbers = ["" if value is None else f"{value:.6g}" for value in cell]
                    who = [sheet.key, group.label, group.algo, group.task, column.key]
                    writer.writerow([*who, *numbers, len(group.seeds), group.problems])
    return out.getvalue()


def as_markdown(study: Study) -> str:
    """The tables with their notes."""
    parts = [f"# {study.title}\n", *(f"- {note}" for note in study.notes), ""]
    for sheet in study.sheets:
        parts += [f"## {sheet.title}\n", f"{sheet.note}\n", table(study, sheet), ""]
        parts += [*(f"- {line}" for line in sheet.lines), ""] if sheet.lines else []
    return "\n".join(parts)


def table(study: Study, sheet: Sheet) -> str:
    """One sheet as a Markdown table."""
    heads = ["", *(column.label for column in sheet.columns)]
    lines = []
    for row in sheet.rows:
        cells = [" ".join(filter(None, shown(c, column))) for column, c in zip(sheet.columns, row.cells, strict=True)]
        lines.append([study.groups[row.group].label, *cells])
    return _grid(heads, lines)


def figure_table(study: Study, figure: Figure) -> str:
    """Return a figure as a Markdown table: one row per condition, at most ``PLACES`` of its x values."""
    step = -(-len(figure.x) // PLACES)
    column = Column(figure.key, "", "points" if figure.unit == "%" else "number", False)
    lines = []
    for series in figure.series:
        none = (None,) * len(series.y)
        ends = list(zip(series.y, series.low or none, series.high or none, strict=True))
        cells = [None if y is None else Cell(y, low, high) for y, low, high in ends[::step]]
        lines.append([study.groups[series.group].label, *(" ".join(filter(None, shown(c, column))) for c in cells)])
    return _grid([figure.x_label, *(f"{x:g}" for x in figure.x[::step])], lines)


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left."""
    rule = ["---", *("---:" for _ in heads[1:])]
    lines = [heads, rule, *([row[0].replace("|", "\\|"), *row[1:]] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_latex(study: Study) -> str:
    r"""Return the tables in LaTeX; they need ``\usepackage{booktabs}``."""
    parts = [f"% {_tex(study.title)}", *(f"% {_tex(note)}" for note in study.notes)]
    for sheet in study.sheets:
        parts += [
            "\\begin{table}",
            f"\\caption{{{_tex(sheet.title)}. {_tex(sheet.note)}}}",
            f"\\begin{{tabular}}{{l{'r' * len(sheet.columns)}}}",
            "\\toprule",
            f" & {' & '.join(_tex(column.label) for column in sheet.columns)} \\\\",
            "\\midrule",
        ]
        for row in sheet.rows:
            cells = (shown(cell, column) for column, cell in zip(sheet.columns, row.cells, strict=True))
            said = [f"{_tex(mean)} {{\\scriptsize {interval}}}" if interval else mean for mean, interval in cells]
            parts.append(f"{_tex(study.groups[row.group].label)} & {' & '.join(said)} \\\\")
        parts += ["\\bottomrule", "\\end{tabular}"]
        parts += [f"\\par\\footnotesize {_tex(line)}" for line in sheet.lines]
        parts += ["\\end{table}", ""]
    return "\n".join(parts)


def as_json(study: Study) -> str:
    """The whole study: who, every table, the data of every figure."""
    value: dict[str, Any] = {
        "title": study.title,
        "notes": study.notes,
        "commits": study.commits,
        "groups": [group._asdict() for group in study.groups],
        "sheets": [
            {
                **sheet._asdict(),
                "columns": [column._asdict() for column in sheet.columns],
                "rows": [
                    {"group": row.group, "cells": [cell and cell._asdict() for cell in row.cells]} for row in sheet.rows
                ],
            }
            for sheet in study.sheets
        ],
        "figures": [
            {**figure._asdict(), "series": [series._asdict() for series in figure.series]} for figure in study.figures
        ],
    }
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def _tex(text: str) -> str:
    return "".join(ESCAPED.get(c, c) for c in text)
