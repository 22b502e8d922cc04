"""Charts as SVG files, for a paper, a notebook or a tracker, with the styles of the page."""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files

from amend.results.report.charts.chart import Chart
from amend.results.report.charts.svg import draw
from amend.results.report.html.sections import curve_charts, distance_charts, length_charts
from amend.results.run_folder.reader import Run


def export_charts(run: Run) -> dict[str, str]:
    """Return the charts of a run's page as SVG files, each by a name that is made of its title."""
    charts = [*curve_charts(run.metrics), *distance_charts(run), *length_charts(run)]
    return {slug(chart.title): svg_file(chart) for chart in charts}


def svg_file(chart: Chart) -> str:
    """Return ``chart`` as the text of an SVG file."""
    drawing = draw(chart)
    style = files("amend.results.report.html").joinpath("assets", "chart.css").read_text(encoding="utf-8")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width} {drawing.height}" role="img" '
        f'aria-label="{escape(drawing.description)}"><title>{escape(chart.title)}</title>'
        f"<style>{style}svg {{ background: var(--paper); }}</style>{drawing.elements}</svg>\n"
    )


def slug(title: str) -> str:
    """Return a title as the name of a file."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
