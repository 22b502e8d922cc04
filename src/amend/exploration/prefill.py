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

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Protocol, runtime_checkable

from amend.errors import UserError
from amend.solution_steps import split_steps
from amend.types import Prefill, Problem, Scored
from amend.value_types import Count, Fraction


@runtime_checkable
class PrefillStrategy(Protocol):
    """Who says how a first reply begins."""

    def __call__(self, problem: Problem, sample: int, samples: int) -> Prefill:
        """The opening of episode number ``sample`` (from 0) of a problem's ``samples``."""
        ...

    def observe(self, scored: Sequence[Scored]) -> None:
        """What came of the round that was opened last."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that later openings depend on, in plain values."""
        ...

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """The inverse of ``memory``."""
        ...


class _Fixed:
    """A start that learns nothing."""

    def observe(self, scored: Sequence[Scored]) -> None:
        """Nothing is learnt from it."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing is kept."""
        return {}

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """Nothing to go back to."""


class NoPrefill(_Fixed):
    """Every reply is the policy's from its first token on."""

    def __call__(self, problem: Problem, sample: int, samples: int) -> Prefill:
        """Nothing is handed in."""
        return Prefill("", False)


class BaseAttempt(_Fixed):
    """The first ``share`` of each problem's episodes have a first attempt of the base model's."""

    def __init__(self, *, share: Fraction) -> None:
        self._share = share

    def __call__(self, problem: Problem, sample: int, samples: int) -> Prefill:
        """The base model's, or the policy's own."""
        return Prefill("", sample < round(self._share * samples))


class PartialSolution:
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

    def __call__(self, problem: Problem, sample: int, samples: int) -> Prefill:
        """All but the last steps of the problem's solution; a step that boxes the answer is never given."""
        if sample < round(self._mix * samples):
            return Prefill("", False)
        parts = split_steps(_solution(problem))
        early = parts[: max(len(parts) - self._left.get(_subject(problem), 1), 0)]
        given = "".join(takewhile(lambda step: "\\boxed" not in step, early))
        if given:
            self._given.add((problem.id, sample))
        return Prefill(given, False)

    def observe(self, scored: Sequence[Scored]) -> None:
        """The subjects that had their last ``window`` given beginnings right often enough get one step less."""
        for one in scored:
            if (one.episode.problem.id, one.episode.sample) in self._given and not one.failed:
                self._recent.setdefault(_subject(one.episode.problem), []).append(one.correct[0])
        self._given.clear()
        for subject, right in self._recent.items():
            del right[: -self._window]
            if len(right) == self._window and sum(right) / self._window > self._threshold:
                self._left[subject] = self._left.get(subject, 1) + 1
                right.clear()  # it answers for the new distance only

    def state_dict(self) -> dict[str, Any]:
        """How far each subject has come, and on what evidence it will move."""
        return {"left": dict(self._left), "recent": {subject: list(right) for subject, right in self._recent.items()}}

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """Back to it."""
        self._left = dict(memory["left"])
        self._recent = {subject: list(right) for subject, right in memory["recent"].items()}


def _solution(problem: Problem) -> str:
    solution = problem.meta.get("solution", "")
    if not solution:
        raise UserError(
            f"prefill=partial_solution: problem {problem.id} has no solution to begin with; allowed: a task whose "
            f"problems all "
            f"have one, or prefill=none"
        )
    return str(solution)


def _subject(problem: Problem) -> str:
    return str(problem.meta.get("subject", ""))
