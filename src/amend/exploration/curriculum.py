"""Choose the problems of an iteration.

A problem that is always solved or never solved gives no learning signal to an algorithm that compares the episodes of a
problem. Prioritized Level Replay (PLR; Jiang, Grefenstette and Rocktaschel 2021, arXiv 2010.03934) scores the learning
signal of each problem when it is used. It selects a part of each iteration among these problems, with probabilities

    P   = (1 - rho) P_S + rho P_C
    P_S ~ rank^(-1 / beta)        rank 1 has the highest score; equal scores share a rank
    P_C ~ now - last use          old scores are less reliable: a problem that was too hard may be solvable now

A curriculum selects indices of the training split, which may be infinite. Every random choice depends only on (run
seed, iteration). The checkpoint contains the state of the curriculum, so a resumed run selects the same problems.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from amend.errors import UserError
from amend.value_types import Count, Fraction, Positive

LISTED = 2**20  # for a split of at least this size, sampling with rejection is faster than a list of the free indices


@runtime_checkable
class Curriculum(Protocol):
    """A curriculum selects the problems of each iteration."""

    def pick(self, available: int, count: int, seed: tuple[int, int]) -> list[int]:
        """Select the problems of an iteration.

        Args:
            available: The number of problems of the training split.
            count: The number of problems to select.
            seed: The run seed and the iteration.

        Returns:
            ``count`` different indices below ``available``.

        Raises:
            UserError: If there are fewer than ``count`` problems.
        """
        ...

    def observe(self, problem_indices: Sequence[int], solved: Float[np.ndarray, "p n"]) -> None:
        """Update the state after an iteration.

        Args:
            problem_indices: The indices of the p problems of the iteration.
            solved: The reward of the last trained turn of each episode, for n episodes of each problem.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that later selections depend on, as plain values."""
        ...

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned.

        Args:
            memory: The state.
        """
        ...


class Uniform:
    """A curriculum that selects all problems with the same probability."""

    def pick(self, available: int, count: int, seed: tuple[int, int]) -> list[int]:
        """Select problems uniformly; see ``Curriculum``."""
        return draw(np.random.default_rng(np.random.SeedSequence(seed)), available, count, ())

    def observe(self, problem_indices: Sequence[int], solved: Float[np.ndarray, "p n"]) -> None:
        """Do nothing: the curriculum has no state."""

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """Do nothing: the curriculum has no state."""


class PLR:
    """Prioritized Level Replay: a part of each iteration repeats problems with a large learning signal.

    Args:
        score: The score of a problem. "variance" is the variance of its rewards, p (1 - p) for rewards of 0 or 1;
            problems that are solved half of the time have the highest score. "regret" is the best reward of its
            episodes minus their mean; problems that are seldom solved have the highest score.
        replay_prob: The share of an iteration's problems that are repeated. It is smaller if too few problems are
            known.
        staleness_coef: The coefficient rho.
        score_temperature: The temperature beta. A smaller value gives the highest ranks a larger probability.
        capacity: The maximum number of known problems. Beyond it, the problems with the lowest scores are removed;
            among equal scores, those with the oldest use.
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
        self._now = 0  # number of observed iterations
        self._known: dict[int, tuple[float, int]] = {}  # index: its score, and the iteration of its last use

    def probabilities(self) -> Float[np.ndarray, " m"]:
        """Return the replay probability P of each known problem.

        Returns:
            The probabilities of the m known problems, in the order in which they became known.
        """
        score = np.array([score for score, _ in self._known.values()])
        stale = np.array([self._now - last for _, last in self._known.values()], dtype=float)
        rank = 1 + np.searchsorted(np.sort(-score), -score)  # 1 + the number of higher scores
        by_rank = rank ** (-1 / self._beta)
        by_age = stale if stale.any() else np.ones_like(stale)  # all problems are from this iteration
        return (1 - self._staleness) * by_rank / by_rank.sum() + self._staleness * by_age / by_age.sum()

    def pick(self, available: int, count: int, seed: tuple[int, int]) -> list[int]:
        """Select the replayed problems first, then other problems; see ``Curriculum``.

        The other problems are unknown ones if enough are left, else any problems that are not replayed.
        """
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        replay_count = min(round(self._replay * count), len(self._known))
        replays: list[int] = []
        if replay_count:
            # Gumbel-top-k trick: the largest values of log P + Gumbel noise are a sample without replacement. It is
            # stable for tiny probabilities.
            logp = np.log(np.maximum(self.probabilities(), np.finfo(float).tiny))
            order = np.argsort(-(logp + rng.gumbel(size=len(logp))), kind="stable")[:replay_count]
            known = list(self._known)
            replays = [known[int(i)] for i in order]
        has_enough_new = available - len(self._known) >= count - replay_count
        return replays + draw(rng, available, count - replay_count, self._known if has_enough_new else replays)

    def observe(self, problem_indices: Sequence[int], solved: Float[np.ndarray, "p n"]) -> None:
        """Score the problems of the iteration, and remove the lowest scores beyond the capacity; see ``Curriculum``."""
        self._now += 1
        scores = solved.var(axis=1) if self._score == "variance" else solved.max(axis=1) - solved.mean(axis=1)
        for index, score in zip(problem_indices, scores, strict=True):
            # Rounding makes scores equal that differ only by a rounding error, such as those of 1/6 and 5/6.
            self._known[index] = (round(float(score), 6), self._now)
        for index in sorted(self._known, key=lambda i: self._known[i])[: max(len(self._known) - self._capacity, 0)]:
            del self._known[index]

    def state_dict(self) -> dict[str, Any]:
        """Return the number of observed iterations and the known problems, in their order."""
        return {"now": self._now, "known": [[index, score, last] for index, (score, last) in self._known.items()]}

    def load_state_dict(self, memory: dict[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        self._now = memory["now"]
        self._known = {index: (score, last) for index, score, last in memory["known"]}


def draw(rng: np.random.Generator, available: int, count: int, taken: Iterable[int]) -> list[int]:
    """Select different indices uniformly.

    Args:
        rng: The random number generator.
        available: The indices are below this number.
        count: The number of indices.
        taken: The indices that must not be selected.

    Raises:
        UserError: If fewer than ``count`` indices are left.
    """
    used = set(taken)
    if available - len(used) < count:
        raise UserError(
            f"algo.groups_per_batch={count + len(used)}: an iteration uses different problems, and the training split "
            f"has {available}; allowed: at most {available}"
        )
    if available < LISTED:
        free = np.setdiff1d(np.arange(available), np.array(sorted(used), dtype=int))
        return [int(i) for i in rng.choice(free, size=count, replace=False)]
    indices: dict[int, None] = {}
    while len(indices) < count:
        candidates = (int(i) for i in rng.integers(available, size=count - len(indices)))
        indices |= dict.fromkeys(i for i in candidates if i not in used)
    return list(indices)
