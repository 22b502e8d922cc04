"""Curriculum: which problems a round poses.

A problem that is always solved, or never, has nothing to teach a learner that compares a problem's episodes.
Prioritized Level Replay (Jiang, Grefenstette and Rocktaschel 2021, arXiv 2010.03934) keeps a score of what each problem
still had to teach when it was last posed, and poses some of them again:

    P   = (1 - rho) P_S + rho P_C
    P_S ~ rank^(-1 / beta)        rank 1 is the highest score; equal scores share a rank
    P_C ~ now - last posed        scores go stale: what was hopeless then may be within reach now

A curriculum deals in indices into the training split, which may have no end, and everything random in a pick is a
function of (run seed, round). What it remembers goes into the checkpoint, so a resumed run picks what it would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from amend.errors import UserError
from amend.value_types import Count, Fraction, Positive

LISTED = 2**20  # a split this large or larger is drawn from by index alone: listing what is left of it would cost more


@runtime_checkable
class Curriculum(Protocol):
    """Who chooses the problems."""

    def pick(self, available: int, count: int, seed: tuple[int, int]) -> list[int]:
        """``count`` different indices below ``available``; ``seed`` is (run seed, round). UserError if too few."""
        ...

    def observe(self, problem_indices: Sequence[int], solved: Float[np.ndarray, "p n"]) -> None:
        """What came of a round: the reward of the last trained turn of each episode of each picked problem."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that later picks depend on, in plain values."""
        ...

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """The inverse of ``memory``."""
        ...


class Uniform:
    """Any problem, as likely as any other."""

    def pick(self, available: int, count: int, seed: tuple[int, int]) -> list[int]:
        """A fresh draw each round."""
        return draw(np.random.default_rng(np.random.SeedSequence(seed)), available, count, ())

    def observe(self, problem_indices: Sequence[int], solved: Float[np.ndarray, "p n"]) -> None:
        """Nothing is learnt from it."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing is kept."""
        return {}

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """Nothing to go back to."""


class PLR:
    """Prioritized Level Replay: part of each round is posed again, by how much it had to teach.

    score:     variance of a problem's rewards (p (1 - p) where they are 0 or 1), highest where it is solved half the
               time; or regret, the best reward of its episodes less their mean, highest where it is seldom solved
    replay:    share of a round's problems that are posed again; less while fewer are known
    staleness: rho above; beta: that above, and the smaller it is, the more the highest ranks get
    capacity:  problems remembered; beyond it the lowest scores are forgotten, of equal ones those posed longest ago
    """

    def __init__(
        self,
        *,
        score: Literal["variance", "regret"],
        replay_prob: Fraction,
        staleness_coef: Fraction,
        score_temperature: Positive,
        capacity: Count,
    ) -> None:
        self._score, self._replay, self._staleness = score, replay_prob, staleness_coef
        self._beta, self._capacity = score_temperature, capacity
        self._now = 0  # rounds observed
        self._known: dict[int, tuple[float, int]] = {}  # index: its score, and the round it was last posed in

    def probabilities(self) -> Float[np.ndarray, " m"]:
        """P of each known problem, in the order in which they became known."""
        score = np.array([score for score, _ in self._known.values()])
        stale = np.array([self._now - last for _, last in self._known.values()], dtype=float)
        rank = 1 + np.searchsorted(np.sort(-score), -score)  # one more than there are higher scores
        by_rank = rank ** (-1 / self._beta)
        by_age = stale if stale.any() else np.ones_like(stale)  # all were posed just now: none is staler
        return (1 - self._staleness) * by_rank / by_rank.sum() + self._staleness * by_age / by_age.sum()

    def pick(self, available: int, count: int, seed: tuple[int, int]) -> list[int]:
        """The replayed first, then the new: unknown ones while there are enough, else any that are not replayed."""
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        again = min(round(self._replay * count), len(self._known))
        replayed: list[int] = []
        if again:
            # The largest of log P + Gumbel noise are a draw without replacement, safe where a P is all but nothing.
            chance = np.log(np.maximum(self.probabilities(), np.finfo(float).tiny))
            first = np.argsort(-(chance + rng.gumbel(size=len(chance))), kind="stable")[:again]
            known = list(self._known)
            replayed = [known[int(i)] for i in first]
        enough = available - len(self._known) >= count - again
        return replayed + draw(rng, available, count - again, self._known if enough else replayed)

    def observe(self, problem_indices: Sequence[int], solved: Float[np.ndarray, "p n"]) -> None:
        """New scores for what was posed; the least valuable are forgotten."""
        self._now += 1
        scores = solved.var(axis=1) if self._score == "variance" else solved.max(axis=1) - solved.mean(axis=1)
        for index, score in zip(problem_indices, scores, strict=True):
            self._known[index] = (round(float(score), 6), self._now)  # 1 of 6 is worth what 5 of 6 is, to the last bit
        for index in sorted(self._known, key=lambda i: self._known[i])[: max(len(self._known) - self._capacity, 0)]:
            del self._known[index]

    def state_dict(self) -> dict[str, Any]:
        """The clock and what is known, in its order."""
        return {"now": self._now, "known": [[index, score, last] for index, (score, last) in self._known.items()]}

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """Back to them."""
        self._now = memory["now"]
        self._known = {index: (score, last) for index, score, last in memory["known"]}


def draw(rng: np.random.Generator, available: int, count: int, taken: Iterable[int]) -> list[int]:
    """``count`` different indices below ``available``, none of them ``taken``. UserError where there are too few."""
    used = set(taken)
    if available - len(used) < count:
        raise UserError(
            f"algo.groups_per_batch={count + len(used)}: a round poses different problems, and the training split has "
            f"{available}; allowed: at most {available}"
        )
    if available < LISTED:
        left = np.setdiff1d(np.arange(available), np.array(sorted(used), dtype=int))
        return [int(i) for i in rng.choice(left, size=count, replace=False)]
    found: dict[int, None] = {}
    while len(found) < count:
        drawn = (int(i) for i in rng.integers(available, size=count - len(found)))
        found |= dict.fromkeys(i for i in drawn if i not in used)
    return list(found)
