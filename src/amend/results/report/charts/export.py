"""Charts as SVG files of their own, for a paper, a notebook, a tracker, with the styles that the page gives them."""

from __future__ import annotations

import re
from importlib.resources import files

from amend.results.report.html.sections import curves, distances, length_charts
from amend.results.run_folder.reader import Run

FIGURE = re.compile(r"<figure class=.*?</figure>", re.DOTALL)
CAPTION = re.compile(r"<figcaption>(.*?)</figcaption>", re.DOTALL)


def export_charts(run: Run) -> dict[str, str]:
    """The charts of a run's page, by a name made of their titles."""
    drawn = FIGURE.findall(curves(run.metrics) + distances(run) + length_charts(run))
    return {slug(caption(chart)): export_chart(chart) for chart in drawn}


def export_chart(chart: str) -> str:
    """A chart (a ``<figure>`` of ``svg``) as the text of an SVG file."""
    svg = chart[chart.index("<svg") : chart.index("</svg>")]
    opened, _, rest = svg.partition(">")
    style = files("amend.results.report.html").joinpath("assets", "chart.css").read_text(encoding="utf-8")
    root = opened.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    ground = "svg { background: var(--paper); }"
    return f"{root}><title>{caption(chart)}</title><style>{style}{ground}</style>{rest}</svg>\n"


def caption(chart: str) -> str:
    """A chart's title, as it stands in the page."""
    found = CAPTION.search(chart)
    return found[1] if found else ""


def slug(title: str) -> str:
    """A title as a file's name."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
