"""Start: how an episode's first reply begins. Its beginning may be handed in, and what is handed in is never trained.

    fresh       from nothing: the whole reply is the policy's
    offline     a share of first attempts is the base model's, so that a correction is learnt on mistakes that the
                policy itself no longer makes (SCoRe, arXiv 2409.12917, section 5.3)
    backtrack   all but the last s steps of a known solution are given; once the end is mastered, s grows, and the start
                moves back to where nothing is given (Salimans and Chen 2018, arXiv 1812.03381; for mathematics, as
                Havrilla told it on TWIML, 16 April 2024, who found at most a small benefit)

Steps of a solution are its lines; of one line, its sentences; of one sentence, its words. Sentences and words keep the
space in front of them, for so do the tokens of most vocabularies: a beginning that ended in a space would leave the
policy to go on with tokens it never uses there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Protocol, runtime_checkable

from amend.bounds import Count, Fraction
from amend.errors import UserError
from amend.types import Opening, Problem, Scored

BOUNDARIES = (
    re.compile(r"(?<=\n)(?=[^\S\n]*\S)"),  # before a line that is not blank
    re.compile(r"(?<=[.!?;])(?=\s+\S)"),  # after a sentence, or a part of one
    re.compile(r"(?<=[^\s:,])(?=\s+\S)"),  # between words; after : and , more of the same is to come
)


@runtime_checkable
class Start(Protocol):
    """Who says how a first reply begins."""

    def __call__(self, problem: Problem, sample: int, samples: int) -> Opening:
        """The opening of episode number ``sample`` (from 0) of a problem's ``samples``."""
        ...

    def observe(self, scored: Sequence[Scored]) -> None:
        """What came of the round that was opened last."""
        ...

    def memory(self) -> dict[str, Any]:
        """All that later openings depend on, in plain values."""
        ...

    def recall(self, memory: dict[str, Any]) -> None:
        """The inverse of ``memory``."""
        ...


class _Fixed:
    """A start that learns nothing."""

    def observe(self, scored: Sequence[Scored]) -> None:
        """Nothing is learnt from it."""

    def memory(self) -> dict[str, Any]:
        """Nothing is kept."""
        return {}

    def recall(self, memory: dict[str, Any]) -> None:
        """Nothing to go back to."""


class Fresh(_Fixed):
    """Every reply is the policy's from its first token on."""

    def __call__(self, problem: Problem, sample: int, samples: int) -> Opening:
        """Nothing is handed in."""
        return Opening("", False)


class Offline(_Fixed):
    """The first ``share`` of each problem's episodes have a first attempt of the base model's."""

    def __init__(self, *, share: Fraction) -> None:
        self._share = share

    def __call__(self, problem: Problem, sample: int, samples: int) -> Opening:
        """The base model's, or the policy's own."""
        return Opening("", sample < round(self._share * samples))


class Backtrack:
    """Begins near the end of the solution, and further back as the end is mastered, each subject at its own pace.

    threshold: rate of right first replies above which a subject's start moves back by a step
    window:    episodes with a given beginning, of one subject and one distance, that the rate is taken over
    mix:       share of each problem's episodes that begin from nothing all the same
    """

    def __init__(self, *, threshold: Fraction, window: Count, mix: Fraction) -> None:
        self._threshold, self._window, self._mix = threshold, window, mix
        self._left: dict[str, int] = {}  # subject: steps left to the policy; 1 where it is not listed
        self._recent: dict[str, list[bool]] = {}  # subject: its last episodes with a given beginning, right or not
        self._given: set[tuple[str, int]] = set()  # this round's such episodes: (problem, sample)

    def __call__(self, problem: Problem, sample: int, samples: int) -> Opening:
        """All but the last steps of the problem's solution; a step that boxes the answer is never given."""
        if sample < round(self._mix * samples):
            return Opening("", False)
        parts = steps(_solution(problem))
        early = parts[: max(len(parts) - self._left.get(_subject(problem), 1), 0)]
        given = "".join(takewhile(lambda step: "\\boxed" not in step, early))
        if given:
            self._given.add((problem.id, sample))
        return Opening(given, False)

    def observe(self, scored: Sequence[Scored]) -> None:
        """The subjects that had their last ``window`` given beginnings right often enough get one step less."""
        for one in scored:
            if (one.episode.problem.id, one.episode.sample) in self._given and not one.failed:
                self._recent.setdefault(_subject(one.episode.problem), []).append(one.right[0])
        self._given.clear()
        for subject, right in self._recent.items():
            del right[: -self._window]
            if len(right) == self._window and sum(right) / self._window > self._threshold:
                self._left[subject] = self._left.get(subject, 1) + 1
                right.clear()  # it answers for the new distance only

    def memory(self) -> dict[str, Any]:
        """How far each subject has come, and on what evidence it will move."""
        return {"left": dict(self._left), "recent": {subject: list(right) for subject, right in self._recent.items()}}

    def recall(self, memory: dict[str, Any]) -> None:
        """Back to it."""
        self._left = dict(memory["left"])
        self._recent = {subject: list(right) for subject, right in memory["recent"].items()}


def steps(solution: str) -> list[str]:
    """The solution in pieces that join to it again: its lines, else its sentences, else its words."""
    for boundary in BOUNDARIES:
        pieces = boundary.split(solution)
        if not pieces[0].strip():  # blank lines at the top are no step
            pieces[:2] = ["".join(pieces[:2])]
        if len(pieces) > 1:
            return pieces
    return [solution]


def _solution(problem: Problem) -> str:
    solution = problem.meta.get("solution", "")
    if not solution:
        raise UserError(
            f"start=backtrack: problem {problem.id} has no solution to begin with; allowed: a task whose problems all "
            f"have one, or start=fresh"
        )
    return str(solution)


def _subject(problem: Problem) -> str:
    return str(problem.meta.get("subject", ""))
