"""index.html: many runs on one self-contained page, and the files next to it.

    index.html      tables with intervals, figures, attempts of every condition at the same problem; no network
    results.csv results.md results.tex study.json figures/*.svg     the same, for programs, pages and papers

The page shows the study (``study``) and the attempts (``study_episodes``) with the styles and the script of the run
report. It works from a file in any folder, follows the light and the dark theme, and can be used with the keyboard
alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from amend.results.analysis.run_extract import RunExtract, gather, grouped
from amend.results.analysis.study import BASE, Cell, Figure, Sheet, Study, study
from amend.results.report.charts.chart import BarChart, Chart, IntervalChart, LineChart
from amend.results.report.charts.export import svg_file
from amend.results.report.charts.html import figure as as_html
from amend.results.report.charts.svg import COLOURS, DASHES, cut
from amend.results.report.export import as_csv, as_json, as_latex, as_markdown, shown
from amend.results.report.formatting import MINUS
from amend.results.report.html.page import document
from amend.results.report.html.study_episodes import Gallery, Packed, filters
from amend.results.report.html.tables import scrolling
from amend.results.run_folder.atomic_files import atomic_write_text

CROWD = 6  # number of conditions above which bands are hidden, because they would hide the lines
FORESTS = (("greedy", "acc_t1"), ("greedy", "acc_t2"), ("greedy", "delta"), ("wide", "pass"), ("wide", "maj"))
"""The table metrics that are plotted as intervals."""


def write_index(out: Path, folders: Sequence[Path]) -> tuple[Path, Study]:
    """Write the report of the runs in ``folders`` into ``out``; UserError if no run has finished."""
    gallery = Gallery()
    found = gather(folders, gallery.add)
    content = study(folders, found)
    packed = gallery.pack(grouped(found))
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, text in {
        "results.csv": as_csv(content),
        "results.md": as_markdown(content),
        "results.tex": as_latex(content),
        "study.json": as_json(content),
        "index.html": page(content, packed, found),
    }.items():
        atomic_write_text(out / name, text)
    for key, chart in charts(content).items():
        atomic_write_text(out / "figures" / f"{key.replace('/', '_')}.svg", svg_file(chart))
    return out / "index.html", content


def page(content: Study, packed: Packed, found: Sequence[RunExtract]) -> str:
    """The whole page."""
    body = "\n".join((
        f"<h1>{escape(content.title)}</h1>",
        _lead(content),
        _facts(content),
        _switches(content),
        _section("Comparison", "Means and 95 % intervals; dashed: the base model.", _grid(_forests(content).values())),
        "".join(_table(content, sheet) for sheet in content.sheets),
        _figures(content),
        _attempts(content, packed, found),
    ))  # fmt: skip
    return document(content.title, body, crowded=len(content.groups) > CROWD, script=_asset("study.js"))


def charts(content: Study) -> dict[str, Chart]:
    """Return every chart of the page by its name."""
    found = dict(_forests(content))
    for figure in content.figures:
        if figure.kind == "bars":
            found |= {f"{figure.key}_{i}": chart for i, chart in enumerate(_histograms(content, figure))}
        else:
            found[figure.key] = _line_chart(content, figure)
    return found


def _asset(name: str) -> str:
    return files("amend.results.report.html").joinpath("assets", name).read_text(encoding="utf-8")


def _section(title: str, note: str, body: str) -> str:
    return f'<h2>{escape(title)}</h2><p class="soft">{escape(note)}</p>{body}' if body else ""


def _grid(charts: Iterable[Chart]) -> str:
    figures = "".join(map(as_html, charts))
    return f'<div class="grid wide">{figures}</div>' if figures else ""


def _places(content: Study) -> dict[str, int]:
    return {group.label: i for i, group in enumerate(content.groups)}


def _cell(content: Study, sheet: str, group: int, key: str) -> Cell | None:
    for found in content.sheets:
        keys = [column.key for column in found.columns]
        if found.key == sheet and key in keys:
            return next((row.cells[keys.index(key)] for row in found.rows if row.group == group), None)
    return None


def _lead(content: Study) -> str:
    """Return the size of the study, and its best result next to that of the base model."""
    runs = sum(len(group.seeds) for group in content.groups)
    problems = max(group.problems for group in content.groups)
    parts = [f"{len(content.groups) - 1} conditions, {runs} finished runs, {problems:,} test problems."]
    for key, attempt in (("acc_t2", "second"), ("acc_t1", "first")):
        cells = {i: _cell(content, "greedy", i, key) for i in range(len(content.groups))}
        trained = {i: cell for i, cell in cells.items() if i and cell}
        if trained and (base := cells[0]):
            best = max(trained, key=lambda i: trained[i].mean)
            said = [f"{content.groups[best].label} {_points(trained[best])}", f"the base model {_points(base)}"]
            parts.append(f"Largest accuracy at the {attempt} attempt: {said[0]}; {said[1]}.")
            break
    notes = "".join(f"<li>{escape(note)}</li>" for note in content.notes)
    return f'<p class="lead">{escape(" ".join(parts))}</p>{f"<ul class=warn>{notes}</ul>" if notes else ""}'


def _points(cell: Cell) -> str:
    mean, low, high = (f"{100 * (v or 0.0) + 0.0:.1f}".replace("-", MINUS) for v in cell)
    return f"{mean} % [{low}, {high}]"


def _facts(content: Study) -> str:
    """Return the sources of the study, and links to the files next to the page."""
    names = ("results.csv", "results.md", "results.tex", "study.json")
    links = ", ".join(f'<a href="{name}">{name}</a>' for name in names)
    commits = f"<p>Code: {escape(', '.join(content.commits))}</p>" if content.commits else ""
    rows = "".join(
        f"<li>{escape(group.label)}: {escape(', '.join(group.folders))}</li>"
        for group in content.groups
        if group.folders
    )
    return (
        f'<p class="soft">The same data in files next to this page: {links}, and figures/ as SVG.</p>'
        f"<details><summary>Runs</summary>{commits}<ul>{rows}</ul></details>"
    )


def _switches(content: Study) -> str:
    """A box to tick for each condition: it is the legend, and it hides the condition all over the page."""
    boxes = "".join(
        f'<label><input type="checkbox" checked value="{i}"><svg class="swatch" viewBox="0 0 34 10" aria-hidden="true">'
        f'<path class="line s{i % COLOURS} d{i % DASHES}" d="M1 5L33 5"/></svg>'
        f"<span>{escape(group.label)}</span></label>"
        for i, group in enumerate(content.groups)
    )
    buttons = '<button type="button" data-all="1">All</button><button type="button" data-all="">None</button>'
    return f'<div class="switches" id="switches" role="group" aria-label="Conditions shown">{boxes}{buttons}</div>'


def _forests(content: Study) -> dict[str, Chart]:
    found: dict[str, Chart] = {}
    for sheet in content.sheets:
        for i, column in enumerate(sheet.columns):
            if (sheet.key, column.key) not in FORESTS:
                continue
            rows = {content.groups[row.group].label: row.cells[i] for row in sheet.rows}
            there = {
                name: (c.mean, c.low, c.high)
                for name, c in rows.items()
                if c and c.low is not None and c.high is not None
            }
            if there:
                base = there[BASE][0] if BASE in there else None
                found[column.key] = IntervalChart(column.label, there, _places(content), base)
    return found


def _table(content: Study, sheet: Sheet) -> str:
    """A table that can be sorted by any of its columns."""
    heads = "".join(
        f'<th scope="col"><button type="button">{escape(column.label)}</button></th>' for column in sheet.columns
    )
    body = ""
    for row in sheet.rows:
        cells = ""
        for column, cell in zip(sheet.columns, row.cells, strict=True):
            mean, interval = (part.replace("-", MINUS) for part in shown(cell, column))
            value = f' data-v="{cell.mean:.9g}"' if cell else ""
            cells += f"<td{value}>{mean}{f'<small>{interval}</small>' if interval else ''}</td>"
        name = escape(content.groups[row.group].label)
        body += f'<tr data-g="{row.group}"><th scope="row">{name}</th>{cells}</tr>'
    return _section(
        sheet.title,
        sheet.note,
        f'{scrolling(sheet.title)}<table class="sortable"><thead><tr><th scope="col"><button type="button">condition'
        f"</button></th>{heads}</tr></thead><tbody>{body}</tbody></table></div>{_below(sheet)}",
    )


def _below(sheet: Sheet) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in sheet.lines)
    return f'<ul class="soft">{lines}</ul>' if lines else ""


def _figures(content: Study) -> str:
    """The figures, in sections."""
    parts = []
    learning = [_line_chart(content, f) for f in content.figures if f.kind == "curve"]
    note = next((f.note for f in content.figures if f.kind == "curve"), "")
    hint = f" Tick or untick conditions above. Bands are visible if at most {CROWD} conditions are ticked."
    parts.append(_section("Learning curves", note + hint, _grid(learning)))
    many = [_line_chart(content, f) for f in content.figures if f.kind == "log"]
    note = " ".join(dict.fromkeys(f.note for f in content.figures if f.kind == "log"))
    parts.append(_section("Many attempts", note, _grid(many)))
    for figure in content.figures:
        if figure.kind == "bars":
            parts.append(_section(figure.title, figure.note, _grid(_histograms(content, figure))))
        elif figure.kind == "profile":
            parts.append(_section(figure.title, figure.note, _grid([_line_chart(content, figure)])))
    return "".join(parts)


def _line_chart(content: Study, figure: Figure) -> LineChart:
    names = {series.group: content.groups[series.group].label for series in figure.series}
    return LineChart(
        title=figure.title,
        x=figure.x,
        x_label=figure.x_label,
        series={names[s.group]: s.y for s in figure.series},
        unit=figure.unit,
        marks=[],
        bands={names[s.group]: (s.low, s.high) for s in figure.series if s.low},
        places={name: group for group, name in names.items()},
        log=figure.kind == "log",
    )


def _histograms(content: Study, figure: Figure) -> list[Chart]:
    """Return one chart per condition, with the base model's shares in it."""
    labels = [f"{x:.1f}" for x in figure.x]
    of = {series.group: [v or 0.0 for v in series.y] for series in figure.series}
    found: list[Chart] = []
    for group, shares in of.items():
        if group == 0 and len(of) > 1:
            continue
        name = content.groups[group].label
        series = ({"base": of[0]} if group and 0 in of else {}) | {cut(name, 12): shares}
        found.append(BarChart(name, labels, series, figure.x_label, place=group))
    return found


def _attempts(content: Study, packed: Packed, found: Sequence[RunExtract]) -> str:
    """The gallery's section, which the page's script fills."""
    if not packed.shown:
        return ""
    said = [f"{packed.shown:,} episodes on {packed.problems:,} problems are in this page"]
    if packed.left_out:
        said.append(f"{packed.left_out:,} more are left out to keep it small")
    if packed.longest:
        said.append(f"replies longer than {packed.longest:,} characters are cut in the middle")
    note = f"{'; '.join(said)}; all of it is in each run's episodes.parquet."
    subjects = sorted({subject for run in found for subject in run.subjects})
    seeds = sorted({run.seed for run in found})
    return (
        f'<h2 id="attempts">Attempts at the same problem</h2><p class="soft">{escape(note)}</p>'
        '<noscript><p class="warn">The browser of attempts needs JavaScript.</p></noscript>'
        f'{filters(seeds, subjects)}<div class="pager"><button id="gallery-back" type="button">← Previous</button>'
        '<button id="gallery-next" type="button">Next →</button>'
        '<span id="gallery-count" role="status">unpacking …</span>'
        f'</div><div id="gallery"></div><script type="text/plain" id="packed">{packed.data}</script>'
    )
