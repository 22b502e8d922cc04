"""The episodes in the report's browser, as data for the page: within a budget of bytes, and safe against hostile text.

Replies are arbitrary text of a model. They are embedded as JSON in which ``<``, ``>`` and ``&`` are escaped, so that
no text can end the script element, and the page shows them as text nodes only. If the page would exceed its budget,
long replies lose their middle and sampled episodes are left out, problem by problem; the page reports this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from amend.results.metrics.episode_table import Columns, select
from amend.results.metrics.self_correction import CLASSES
from amend.results.report.formatting import shortened

BUDGET = 4_000_000  # bytes of embedded episodes; the page stays below 5 MB with its charts and tables
LENGTHS = (20_000, 8_000, 4_000, 2_000, 1_000, 500)  # longest replies tried, until every greedy episode fits

_HARMFUL = re.compile("[<>&\u2028\u2029\ud800-\udfff]")  # the last are lone surrogates, which no encoding can write

Episode = dict[str, Any]


@dataclass(frozen=True)
class Embedded:
    """What goes into the page. ``left_out`` counts episodes, ``longest`` is where replies were cut (0: nowhere)."""

    data: str
    shown: int
    left_out: int
    longest: int
    choices: dict[str, list[str]]


def embed(columns: Columns) -> Embedded:
    """The table of episodes for the browser; greedy first, base and trained of a problem side by side."""
    problems, greedy = _episodes(columns, "greedy", {})
    problems, sampled = _episodes(columns, "sampled", problems)
    used = sorted({int(e["problem"]) for e in greedy + sampled})
    listed = list(problems.values())
    room = BUDGET - sum(_size(listed[i]) for i in used)
    longest = next((n for n in LENGTHS if sum(_size(_cut(e, n)) for e in greedy) <= room), LENGTHS[-1])
    shown: list[Episode] = []
    for episode in (_cut(e, longest) for e in greedy + sampled):
        room -= _size(episode)
        if room < 0:
            break
        shown.append(episode)
    was_cut = any(len(text) > longest for e in greedy + sampled for text, *_ in e["attempts"])
    return Embedded(
        data=harmless({"problems": listed, "episodes": shown}),
        shown=len(shown),
        left_out=len(greedy) + len(sampled) - len(shown),
        longest=longest if was_cut else 0,
        choices={
            "kind": _order({e["kind"] for e in shown}, (*CLASSES, "right", "wrong")),
            "phase": _order({e["phase"] for e in shown}, ("trained", "base")),
            "decoding": _order({e["decoding"] for e in shown}, ("greedy", "sampled")),
            "subject": sorted({listed[e["problem"]]["subject"] for e in shown} - {""}),
        },
    )


def harmless(value: Any) -> str:
    """JSON that may stand inside a script element: it holds no ``<``, ``>`` or ``&``."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def form(choices: dict[str, list[str]]) -> str:
    """The browser's filters, as a form; a filter with nothing to choose is left out."""
    names = {"kind": "Class", "phase": "Model", "decoding": "Decoding", "subject": "Subject"}
    first = {"phase": "trained", "decoding": "greedy"}  # what is shown before anybody chooses
    fields = []
    for key, name in names.items():
        if len(choices[key]) > 1:
            options = "".join(
                f'<option value="{escape(c)}"{" selected" if first.get(key) == c else ""}>{escape(c)}</option>'
                for c in choices[key]
            )
            fields.append(f'<label>{name}<select name="{key}"><option value="">all</option>{options}</select></label>')
    fields.append('<label>Search<input type="search" name="search" autocomplete="off"></label>')
    return f'<form class="filter" aria-label="Filter episodes">{"".join(fields)}</form>'


def _episodes(columns: Columns, decoding: str, problems: dict[str, Any]) -> tuple[dict[str, Any], list[Episode]]:
    """Every episode of a decoding, by problem, then sample, then phase; and the problems, with those new here added."""
    found: list[tuple[int, int, int, Episode]] = []
    known = dict(problems)
    places = {problem: i for i, problem in enumerate(known)}
    for order, phase in enumerate(("base", "trained")):
        table = select(columns, phase, decoding)
        for p, problem in enumerate(table.problem.tolist()):
            first = int(table.row[p, 0, 0])
            if problem not in known:
                places[problem] = len(known)
                known[problem] = {name: columns[name][first] for name in ("question", "gold", "subject", "level")}
                known[problem] = {"id": problem, **known[problem]}
            for sample, rows in enumerate(table.row[p].tolist()):
                found.append(
                    (places[problem], sample, order, _one(columns, rows, places[problem], phase, decoding, sample))
                )
    return known, [episode for *_, episode in sorted(found, key=lambda entry: entry[:3])]


def _one(columns: Columns, rows: Sequence[int], problem: int, phase: str, decoding: str, sample: int) -> Episode:
    names = ("text", "answer", "correct", "why", "stop", "tokens")
    attempts = [[columns[name][i] for name in names] for i in rows]
    right = [bool(columns["correct"][i]) for i in rows]
    kind = f"{'ic'[right[0]]}→{'ic'[right[1]]}" if len(right) > 1 else ("right" if right[0] else "wrong")
    return {
        "problem": problem, "phase": phase, "decoding": decoding, "sample": sample, "kind": kind, "attempts": attempts
    }  # fmt: skip


def _cut(episode: Episode, longest: int) -> Episode:
    """The episode with replies longer than ``longest`` characters cut in the middle."""
    return {**episode, "attempts": [[shortened(text, longest), *rest] for text, *rest in episode["attempts"]]}


def _size(value: Any) -> int:
    return len(harmless(value).encode()) + 1


def _order(found: set[str], order: tuple[str, ...]) -> list[str]:
    return [name for name in order if name in found]
