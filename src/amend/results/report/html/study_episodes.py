"""Attempts of many runs at the same problems, as data for the page: bounded, compressed, and safe against hostile text.

A sweep has more episodes than a page can carry, so the page has a sample that a fixed rule chooses: the greedy
attempts of every condition's first seed, then of the other seeds, then sampled attempts, sample by sample. If that is
still too much, whole problems are left out, the last ones first, so that all conditions keep the same problems. The
base model occurs once. Equal texts are stored once. The data are gzip in base64, so no text can end the element that
contains them, and the page shows texts as text nodes only. The page reports the number of left-out episodes.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from amend.results.analysis.run_extract import RunExtract
from amend.results.metrics.episode_table import Columns, select
from amend.results.metrics.self_correction import CLASSES
from amend.results.report.formatting import shortened
from amend.results.report.html.run_episodes import LENGTHS
from amend.results.run_folder.reader import Run

BUDGET = 3_600_000  # bytes of base64 in the page, which stays below 5 MB with its tables and figures
RAW = 48_000_000  # bytes of it unpacked, which a browser reads in well under a second
MOST = 50_000  # episodes
SAMPLES = 32  # of a problem, kept of each run's sampled attempts
DECODINGS = ("greedy", "sampled", "wide")
KINDS = (*CLASSES, "right", "wrong")

Attempt = tuple[int, int, int, int, int, int]  # text, answer (-1: none), right, why, tokens, cut off; texts by number


class Episode(NamedTuple):
    """One conversation: who, on which problem, and its attempts. ``tier`` orders what is kept first."""

    tier: int
    problem: int
    run: int
    decoding: int
    sample: int
    kind: int
    attempts: tuple[Attempt, ...]


class Packed(NamedTuple):
    """What goes into the page."""

    data: str
    shown: int
    left_out: int
    longest: int
    problems: int


class Gallery:
    """Collects runs as they are read; ``pack`` makes the page's data of them."""

    def __init__(self) -> None:
        self.seen = 0
        self._texts: dict[str, int] = {}
        self._problems: dict[tuple[str, str], list[Any]] = {}
        self._episodes: list[Episode] = []
        self._runs: list[RunExtract] = []
        self._bases: set[tuple[Any, ...]] = set()

    def add(self, run: Run, found: RunExtract) -> None:
        """Add a run's trained attempts, and those of its base model if no other run has added them."""
        self._runs.append(found)
        for decoding in range(len(DECODINGS)):
            self._take(run.episodes, found, "trained", decoding)
            self._take(run.episodes, found, "base", decoding)

    def _take(self, columns: Columns, found: RunExtract, phase: str, decoding: int) -> None:
        table = select(columns, phase, DECODINGS[decoding])
        if not len(table):
            return
        if phase == "base":
            same = (found.task, decoding, tuple(table.problem.tolist()))
            if same in self._bases:
                return
            self._bases.add(same)
        self.seen += int(np.prod(table.row.shape[:2]))
        of = len(self._runs) - 1 if phase == "trained" else -1
        for p, name in enumerate(map(str, table.problem.tolist())):
            first = int(table.row[p, 0, 0])
            about = [columns[key][first] for key in ("question", "gold", "subject", "level")]
            entry = self._problems.setdefault((found.task, name), [len(self._problems), name, *about])
            for sample, rows in enumerate(table.row[p, :SAMPLES].tolist()):
                tier = 0 if of < 0 and decoding == 0 else (1 + 2 * sample + (decoding > 0))
                right = [bool(columns["correct"][i]) for i in rows]
                kind = 2 * right[0] + right[1] if len(right) > 1 else 5 - right[0]
                attempts = tuple(self._attempt(columns, i) for i in rows)
                self._episodes.append(Episode(tier, entry[0], of, decoding, sample, kind, attempts))

    def _attempt(self, columns: Columns, i: int) -> Attempt:
        answer = columns["answer"][i]
        return (
            self._text(columns["text"][i]), -1 if answer is None else self._text(answer), int(columns["correct"][i]),
            self._text(columns["why"][i]), int(columns["tokens"][i]), int(columns["stop"][i] == "length"),
        )  # fmt: skip

    def _text(self, text: Any) -> int:
        return self._texts.setdefault(str(text), len(self._texts))

    def pack(self, groups: Sequence[Sequence[RunExtract]]) -> Packed:
        """The data of the page for runs in ``groups``, whose places count from 1; the base model's is 0."""
        at = {id(run): (i, run.seed) for i, runs in enumerate(groups, 1) for run in runs}
        who = [at.get(id(run)) for run in self._runs]
        first = {i: min(run.seed for run in runs) for i, runs in enumerate(groups, 1)}

        def order(episode: Episode) -> tuple[int, int]:
            place = (0, 0) if episode.run < 0 else who[episode.run]
            later = place is not None and episode.run >= 0 and place[1] != first[place[0]]
            return (2 * episode.tier + later, episode.problem)

        mine = [e for e in self._episodes if e.run < 0 or who[e.run] is not None]
        mine.sort(key=order)
        texts = list(self._texts)
        kept, longest = mine[:MOST], 0
        for most in LENGTHS:
            longest = most
            if sum(self._size(e, texts, most) for e in kept if e.decoding == 0) <= RAW:
                break
        total, count = 0, 0
        for episode in kept:
            total += self._size(episode, texts, longest)
            if total > RAW:
                break
            count += 1
        kept = _whole(kept[:count], mine)
        while True:
            data, was_cut = self._packed(kept, texts, longest, who)
            if len(data) <= BUDGET or not kept:
                break
            kept = _whole(kept[: int(len(kept) * min(0.95, 0.97 * BUDGET / len(data)))], mine)
        problems = len({e.problem for e in kept})
        return Packed(data, len(kept), self.seen - len(kept), longest if was_cut else 0, problems)

    def _size(self, episode: Episode, texts: list[str], most: int) -> int:
        return 60 + sum(min(len(texts[a[0]]), most) for a in episode.attempts)

    def _packed(
        self, kept: Sequence[Episode], texts: list[str], longest: int, who: Sequence[tuple[int, int] | None]
    ) -> tuple[str, bool]:
        """The data, and whether a text was cut."""
        used: dict[int, int] = {}
        problems: dict[int, int] = {}

        def number(text: int) -> int:
            return used.setdefault(text, len(used)) if text >= 0 else -1

        listed = [
            [
                problems.setdefault(e.problem, len(problems)), *((0, -1) if e.run < 0 else who[e.run] or (0, -1)),
                e.decoding, e.sample, e.kind,
                [[number(a[0]), number(a[1]), a[2], number(a[3]), a[4], a[5]] for a in e.attempts],
            ]
            for e in kept
        ]  # fmt: skip
        about = {entry[0]: [*entry[1:], task] for (task, _), entry in self._problems.items()}
        written = [shortened(texts[i], longest) for i in used]
        value = {
            "problems": [about[p] for p in problems],
            "texts": written,
            "episodes": listed,
            "decodings": DECODINGS,
            "kinds": KINDS,
        }
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        packed = gzip.compress(text.encode("utf-8", errors="backslashreplace"), mtime=0)
        return base64.b64encode(packed).decode("ascii"), any(len(texts[i]) > longest for i in used)


def _whole(kept: list[Episode], all_of_them: Sequence[Episode]) -> list[Episode]:
    """Remove the last problem if a part of its tier is cut off, so that all conditions keep the same problems."""
    if len(kept) in (0, len(all_of_them)):
        return kept
    last = kept[-1].problem
    while len(kept) > 1 and kept[-1].problem == last:
        kept = kept[:-1]
    return kept


def filters(seeds: Sequence[int], subjects: Sequence[str]) -> str:
    """Return the search form of the gallery, with seeds and subjects if there are several."""
    fields = [
        _select(
            "show", "Show", [("", "every problem"), ("differ", "conditions disagree"), ("agree", "conditions agree")]
        ),
        _select("kind", "Class", [("", "any"), *((kind, kind) for kind in KINDS)]),
        _select("of", "of", [("", "any condition")]),
        _select("decoding", "Decoding", [(name, name) for name in DECODINGS]),
    ]
    if len(seeds) > 1:
        fields.append(_select("seed", "Seed", [(str(seed), str(seed)) for seed in seeds]))
    if len(subjects) > 1:
        fields.append(_select("subject", "Subject", [("", "all"), *((name, name) for name in subjects)]))
    fields.append('<label>Search<input type="search" name="search" autocomplete="off"></label>')
    return f'<form class="filter" id="gallery-form" aria-label="Filter problems">{"".join(fields)}</form>'


def _select(name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    given = "".join(f'<option value="{escape(value)}">{escape(said)}</option>' for value, said in options)
    return f'<label>{label}<select name="{name}">{given}</select></label>'
