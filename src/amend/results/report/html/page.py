"""The HTML document: its head, its style sheet and its scripts, all inline."""

from __future__ import annotations

from html import escape
from importlib.resources import files


def document(title: str, body: str, *, crowded: bool, script: str) -> str:
    """A page around ``body``: styles, scripts (``script`` last), and a policy that forbids it to ask any network."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; img-src data:\">"
        f"<title>{escape(title)} · amend</title><style>{_asset('chart.css')}{_asset('page.css')}</style></head>\n"
        f"<body{' class=crowded' if crowded else ''}>\n<main>\n{body}\n</main>\n"
        f"<script>{_asset('page.js')}{script}</script>\n</body></html>\n"
    )


def _asset(name: str) -> str:
    return files("amend.results.report.html").joinpath("assets", name).read_text(encoding="utf-8")
