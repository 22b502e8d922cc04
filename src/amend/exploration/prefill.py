"""Choose how the first reply of an episode begins. A prefill is context and is never trained.

    none              the policy samples the whole reply
    base_attempt      the base model samples a share of the first attempts, so that the policy learns to correct
                      mistakes that it no longer makes itself (SCoRe, arXiv 2409.12917, section 5.3)
    partial_solution  the prefill is a known solution without its last s steps; s grows as the policy succeeds, until
                      the prefill is empty (Salimans and Chen 2018, arXiv 1812.03381; for mathematics: Havrilla, TWIML
                      podcast, 16 April 2024, who found at most a small benefit)

The steps of a solution are its lines. A solution of one line is split into sentences, and a single sentence into words.
A sentence or word includes the space before it, as tokens of most vocabularies do. A prefill that ends in a space would
force the policy to continue with unusual tokens.
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
    """A prefill strategy decides how the first reply of each episode begins."""

    def __call__(self, problem: Problem, sample: int, samples: int) -> Prefill:
        """Return the prefill of an episode.

        Args:
            problem: The problem of the episode.
            sample: The number of the episode among those of its problem, from 0.
            samples: The group size.
        """
        ...

    def observe(self, scored: Sequence[Scored]) -> None:
        """Update the state after an iteration.

        Args:
            scored: The episodes of the iteration with their rewards.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that later prefills depend on, as plain values."""
        ...

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned.

        Args:
            memory: The state.
        """
        ...


class _Stateless:
    """A prefill strategy without state."""

    def observe(self, scored: Sequence[Scored]) -> None:
        """Do nothing: the strategy has no state."""

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """Do nothing: the strategy has no state."""


class NoPrefill(_Stateless):
    """A strategy without prefill: the policy samples every reply from its first token."""

    def __call__(self, problem: Problem, sample: int, samples: int) -> Prefill:
        """Return no prefill."""
        return Prefill("", False)


class BaseAttempt(_Stateless):
    """A strategy that takes the first attempt of some episodes from the base model.

    Args:
        share: The share of each problem's episodes with such a first attempt; these are the first episodes of the
            problem.
    """

    def __init__(self, *, share: Fraction) -> None:
        self._share = share

    def __call__(self, problem: Problem, sample: int, samples: int) -> Prefill:
        """Return whether the base model samples the first attempt; see ``PrefillStrategy``."""
        return Prefill("", sample < round(self._share * samples))


class PartialSolution:
    """A strategy that gives the beginning of a solution, and less of it as the policy succeeds.

    The length of the prefill is separate for each subject.

    Args:
        threshold: The accuracy of first replies above which the prefill of a subject becomes one step shorter.
        window: The number of episodes over which the accuracy is computed: prefilled episodes of one subject at one
            length.
        mix: The share of each problem's episodes without prefill.
    """

    def __init__(self, *, threshold: Fraction, window: Count, mix: Fraction) -> None:
        self._threshold, self._window, self._mix = threshold, window, mix
        self._left: dict[str, int] = {}  # subject: number of steps without prefill; default 1
        self._recent: dict[str, list[bool]] = {}  # subject: correctness of its last prefilled episodes
        self._prefilled: set[tuple[str, int]] = set()  # prefilled episodes of this iteration: (problem, sample)

    def __call__(self, problem: Problem, sample: int, samples: int) -> Prefill:
        """Return the solution without its last steps; see ``PrefillStrategy``.

        The prefill ends before the first step that contains a boxed answer.
        """
        if sample < round(self._mix * samples):
            return Prefill("", False)
        parts = split_steps(_solution(problem))
        early = parts[: max(len(parts) - self._left.get(_subject(problem), 1), 0)]
        prefill = "".join(takewhile(lambda step: "\\boxed" not in step, early))
        if prefill:
            self._prefilled.add((problem.id, sample))
        return Prefill(prefill, False)

    def observe(self, scored: Sequence[Scored]) -> None:
        """Shorten the prefill of each subject whose last prefilled episodes exceed the accuracy threshold."""
        for item in scored:
            if (item.episode.problem.id, item.episode.sample) in self._prefilled and not item.failed:
                self._recent.setdefault(_subject(item.episode.problem), []).append(item.correct[0])
        self._prefilled.clear()
        for subject, right in self._recent.items():
            del right[: -self._window]
            if len(right) == self._window and sum(right) / self._window > self._threshold:
                self._left[subject] = self._left.get(subject, 1) + 1
                right.clear()  # the next accuracy must be that of the new length

    def state_dict(self) -> dict[str, Any]:
        """Return the prefill length of each subject and its recent results."""
        return {"left": dict(self._left), "recent": {subject: list(right) for subject, right in self._recent.items()}}

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        self._left = dict(memory["left"])
        self._recent = {subject: list(right) for subject, right in memory["recent"].items()}


def _solution(problem: Problem) -> str:
    solution = problem.meta.get("solution", "")
    if not solution:
        raise UserError(
            f"prefill=partial_solution: problem {problem.id} has no solution for a prefill; allowed: a task with a "
            f"solution for every problem, or prefill=none"
        )
    return str(solution)


def _subject(problem: Problem) -> str:
    return str(problem.meta.get("subject", ""))
