"""report.html: one run on one self-contained page, made from its folder.

The file contains styles, script, charts as SVG and episodes as data. It needs no network, works from a file system,
follows the light and the dark theme, and shows everything except the browser of episodes without scripts. Any run
folder gives a page: also one of an unfinished run, of a run with one turn, or without some of its files. All text of
a model, a task or a configuration is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from amend.results.analysis.metric_registry import FIGURES
from amend.results.analysis.summary import summarise
from amend.results.report.formatting import clock, reason
from amend.results.report.html.page import document
from amend.results.report.html.run_episodes import embed, form
from amend.results.report.html.sections import curves, distances, flips, lengths
from amend.results.report.html.tables import mean, results, subjects
from amend.results.report.transcripts import WANTED, Transcript, choose
from amend.results.run_folder.atomic_files import atomic_write_text
from amend.results.run_folder.reader import Run, read_run

Figures = Mapping[str, Any]


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` into ``run_folder`` from what it holds; its path. An older page is replaced whole."""
    path = run_folder / "report.html"
    atomic_write_text(path, page(read_run(run_folder)))
    return path


def page(run: Run) -> str:
    """The whole page."""
    figures = {d: {p: _figures(run, p, d) for p in ("base", "trained")} for d in ("greedy", "sampled")}
    algo, task = _name(run, "algo", run.folder.parent.name), _name(run, "task", run.folder.parent.parent.name)
    title = f"{algo} on {task}"
    body = "\n".join((
        f"<h1>{escape(title)}</h1>",
        _headline(run, figures["greedy"]),
        _facts(run, figures["greedy"]),
        results(run, figures),
        subjects(figures["greedy"]),
        curves(run.metrics),
        flips(run),
        distances(run),
        lengths(run),
        _transcripts(run),
        _browser(run),
    ))  # fmt: skip
    return document(title, body, crowded=False, script="")


def _figures(run: Run, phase: str, decoding: str) -> Figures:
    """M as the run's summary has it, else from its episodes."""
    source = run.summary if decoding == "greedy" else run.summary.get("sampled") or {}
    return source.get(phase) or summarise(run.episodes, phase, decoding)


def _name(run: Run, key: str, otherwise: str) -> str:
    return str(run.summary.get(key) or otherwise or "run")


def _headline(run: Run, figures: Mapping[str, Figures]) -> str:
    """What the run found, in a sentence; or how far it got."""
    base, trained = figures["base"], figures["trained"]
    parts = []
    if not trained.get("n"):
        iterations = f"It has {len(run.metrics)} iterations so far" if run.metrics else "It has no iteration so far"
        if not run.summary:
            parts.append(f'<p class="warn">This run has not finished. {iterations}.</p>')
    last = max((name for name in base if name.startswith("acc_t")), default="")
    if trained.get("n") and base.get("n") and last in trained:
        said = f"{FIGURES.get(last, last)} went from {mean(base[last])} to {mean(trained[last])} %"
        if "delta" in base and "delta" in trained:
            said = (
                f"A second attempt changed accuracy by {mean(base['delta'], '+')} points before training and by "
                f"{mean(trained['delta'], '+')} points after; {said}"
            )
        parts.append(f'<p class="lead">{escape(said)}, on {trained["n"]:,} test problems, greedy decoding.</p>')
    return "".join(parts)


def _facts(run: Run, figures: Mapping[str, Figures]) -> str:
    """What ran and what it cost."""
    cost = run.summary.get("cost") or {}
    last = run.metrics[-1] if run.metrics else {}
    facts: dict[str, Any] = {
        "policy": run.summary.get("policy"),
        "seed": run.summary.get("seed"),
        "iterations": last.get("iteration"),
    }
    if "seconds" in cost:
        facts["time"] = clock(cost["seconds"])
    for key, name in (
        ("episodes", "episodes"),
        ("sampled_tokens", "sampled tokens"),
        ("optimizer_steps", "optimizer steps"),
    ):
        value = cost.get(key, last.get(key))
        facts[name] = None if value is None else f"{value:,}"
    facts["test problems"] = f"{max(figures[p].get('n', 0) for p in figures):,}"
    facts["folder"] = run.folder.name
    pairs = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in facts.items()
        if value is not None
    )
    more = ""
    if run.config:
        more += f"<details><summary>Configuration</summary><pre>{escape(run.config)}</pre></details>"
    if run.versions:
        versions = "\n".join(f"{key}: {value}" for key, value in run.versions.items())
        more += f"<details><summary>Versions</summary><pre>{escape(versions)}</pre></details>"
    return f'<dl class="facts">{pairs}</dl>{more}'


def _transcripts(run: Run) -> str:
    chosen = choose(run.episodes)
    if not chosen:
        return ""
    cards = "".join(_transcript(kind, found) for kind, found in chosen.items())
    said = "One episode of each kind, chosen by rule: the one of most usual length."
    return f'<h2>To read</h2><p class="soft">{said}</p>{cards}'


def _transcript(kind: str, found: Transcript | None) -> str:
    name = f"{WANTED[kind]}, {kind}" if kind in WANTED else kind
    if found is None:
        return f"<article><header><b>{name}</b><span>no such episode</span></header></article>"
    attempts = "".join(
        f'<section class="attempt"><h4>Attempt {i}<span class="verdict {"right" if a.correct else "wrong"}">'
        f"{'✓ right' if a.correct else '✗ wrong'}</span></h4><pre>{escape(a.text) or '(empty)'}</pre>"
        f"<footer>answer: {escape(a.answer) if a.answer is not None else 'none found'}"
        f"{f' · {escape(reason_text)}' if (reason_text := reason(a.correct, a.reason)) else ''}</footer></section>"
        for i, a in enumerate(found.attempts, start=1)
    )
    return (
        f"<article><header><b>{name}</b><span>{found.phase} model, {found.decoding}</span>"
        f'<span>problem {escape(found.problem)}</span></header><p class="ask">{escape(found.question)}</p>'
        f'<p class="soft">Expected: {escape(found.gold)}</p><div class="attempts">{attempts}</div></article>'
    )


def _browser(run: Run) -> str:
    """The section that the page's script fills."""
    embedded = embed(run.episodes)
    if not embedded.shown:
        return ""
    limits = []
    if embedded.left_out:
        limits.append(f"{embedded.left_out:,} sampled episodes are left out to keep this page small")
    if embedded.longest:
        limits.append(f"replies longer than {embedded.longest:,} characters are cut in the middle")
    note = f'<p class="soft">Here {" and ".join(limits)}; all of it is in episodes.parquet.</p>' if limits else ""
    return (
        f'<h2 id="browser">Attempts</h2>{note}'
        '<noscript><p class="warn">The browser of attempts needs JavaScript.</p></noscript>'
        f'{form(embedded.choices)}<div class="pager"><button id="back" type="button">← Previous</button>'
        '<button id="next" type="button">Next →</button><span id="count" role="status"></span></div>'
        '<div id="cards"></div>'
        f'<script type="application/json" id="episodes">{embedded.data}</script>'
    )
