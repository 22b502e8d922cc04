"""From parts to one number a turn:  reward = sum over parts of weight * part,  and what happens when a part fails.

A part that raises is never a silent 0. Problems are then asked for by themselves, and where one raises again its
episodes one by one, so that only those at fault count as failed; each is counted and named. A failed episode gets, in
every part and turn, the mean of the other episodes of its problem (of the whole batch, where all of its problem
failed). It then equals the baseline of its group, so that leave-one-out, group mean and group standardisation all give
it no credit, and the group's mean is what it would be without it. Past a share of ``max_failures`` the run stops, with
advice.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from amend.distributed import collectives
from amend.errors import UserError
from amend.reward.base import DenseReward, Reward
from amend.types import Episode, Scored

log = logging.getLogger(__name__)


class CompositeReward:
    """Scores episodes with named parts. ``failures``: by part, how many episodes the last call could not score."""

    def __init__(self, parts: Mapping[str, Reward], *, max_failures: float) -> None:
        if not parts:
            raise UserError("reward: no part is given; allowed: at least one, such as reward=oracle")
        if not 0 <= max_failures <= 1:
            raise UserError(f"trainer.max_reward_error_rate={max_failures}: allowed: 0 to 1")
        self._parts = dict(parts)
        self._max_failures = max_failures
        self.failures: dict[str, int] = dict.fromkeys(parts, 0)

    def __call__(self, episodes: Sequence[Episode]) -> list[Scored]:
        """Each episode with its reward a turn and the unweighted parts of it. UserError where too many fail."""
        b, k = len(episodes), max((len(episode.turns) for episode in episodes), default=0)
        failed = np.zeros(b, dtype=bool)
        values: dict[str, Float[np.ndarray, "b k"]] = {}
        first: dict[str, str] = {}
        for name, part in self._parts.items():
            values[name], reasons = _together(part, episodes, k)
            self.failures[name] = len(reasons)
            failed[list(reasons)] = True
            if reasons:
                row, first[name] = next(iter(reasons.items()))
                log.warning(
                    "reward.%s failed on %d of %d episodes; the first, problem %s: %s",
                    *(name, len(reasons), b, episodes[row].problem.id, first[name]),
                )
        if failed.any() and (failed.all() or failed.mean() > self._max_failures):
            raise UserError(
                f"reward: {int(failed.sum())} of {b} episodes could not be scored, more than "
                f"trainer.max_reward_error_rate="
                f"{self._max_failures} allows ({'; '.join(f'{name}: {why}' for name, why in first.items())}); "
                "mend that part, or raise trainer.max_reward_error_rate"
            )
        stand_ins = _stand_ins(episodes, failed)
        for part_values in values.values():
            for row, others in stand_ins.items():
                part_values[row] = part_values[others].mean(axis=0)
        total = sum((self._parts[name].weight * value for name, value in values.items()), np.zeros((b, k)))
        token_rewards = self._along(episodes, total)
        for row, others in stand_ins.items():  # what was paid on the way is nobody's mean
            token_rewards[row] = np.zeros_like(token_rewards[row])
            total[row] = total[others].mean(axis=0)
        verifier = next((name for name, part in self._parts.items() if getattr(part, "is_correctness", False)), None)
        return [
            Scored(
                episode,
                tuple(total[row, : len(episode.turns)].tolist()),
                {name: tuple(value[row, : len(episode.turns)].tolist()) for name, value in values.items()},
                tuple(token_rewards[row].tolist()),
                bool(failed[row]),
                tuple((values[verifier][row, : len(episode.turns)] > 0.5).tolist()) if verifier is not None else (),
            )
            for row, episode in enumerate(episodes)
        ]

    def _along(self, episodes: Sequence[Episode], total: Float[np.ndarray, "b k"]) -> list[np.ndarray]:
        """What parts pay on the way, at each trained token; added to ``total``, turn by turn. Empty where none does."""
        paying = [
            collectives.map_sharded(episodes, part.token_rewards)
            for part in self._parts.values()
            if isinstance(part, DenseReward)
        ]
        if not paying:
            return [np.zeros(0)] * len(episodes)
        token_rewards = [np.sum(rows, axis=0) for rows in zip(*paying, strict=True)]
        for row, episode in enumerate(episodes):
            at = 0
            for k, turn in enumerate(episode.turns):
                length = sum(turn.trained)
                total[row, k] += token_rewards[row][at : at + length].sum()
                at += length
        return token_rewards


def _together(part: Reward, episodes: Sequence[Episode], k: int) -> tuple[Float[np.ndarray, "b k"], dict[int, str]]:
    """``_measured``, each process judging the episodes of a share of the problems."""

    def judged(some: Sequence[list[int]]) -> list[list[tuple[np.ndarray, str | None]]]:
        once = {rows[0]: rows for rows in some}  # one that stands in for what a process lacks is here twice
        rows = [row for mine in once.values() for row in mine]
        values, reasons = _measured(part, [episodes[row] for row in rows], k)
        of = {row: (value, reasons.get(i)) for i, (row, value) in enumerate(zip(rows, values, strict=True))}
        return [[of[row] for row in mine] for mine in some]

    together = _problems(episodes)
    found = collectives.map_sharded(together, judged)
    values = np.zeros((len(episodes), k))
    reasons: dict[int, str] = {}
    for rows, said in zip(together, found, strict=True):
        for row, (value, reason) in zip(rows, said, strict=True):
            values[row] = value
            if reason is not None:
                reasons[row] = reason
    return values, reasons


def _problems(episodes: Sequence[Episode]) -> list[list[int]]:
    """The rows of each problem's episodes."""
    rows: dict[str, list[int]] = {}
    for row, episode in enumerate(episodes):
        rows.setdefault(episode.problem.id, []).append(row)
    return list(rows.values())


def _measured(part: Reward, episodes: Sequence[Episode], k: int) -> tuple[Float[np.ndarray, "b k"], dict[int, str]]:
    """A part's values, and the reason for each episode that it has none for (whose values are then 0)."""
    reasons: dict[int, str] = {}
    try:
        most = max((len(episode.turns) for episode in episodes), default=0)
        values = np.zeros((len(episodes), k))
        values[:, :most] = _checked(part(episodes), len(episodes), most)
    except UserError:
        raise
    except Exception as error:  # whatever the part raises is reported, so nothing is swallowed here
        values = np.zeros((len(episodes), k))
        if len(episodes) == 1:
            return values, {0: f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}
        problems = _problems(episodes)
        for rows in problems if len(problems) > 1 else [[row] for row in problems[0]]:
            mine, why = _measured(part, [episodes[row] for row in rows], k)
            values[rows] = mine
            reasons |= {rows[i]: reason for i, reason in why.items()}
        return values, reasons
    for row, episode in enumerate(episodes):
        if row not in reasons and not np.isfinite(values[row, : len(episode.turns)]).all():
            reasons[row] = f"its value is {values[row].tolist()}, not finite"
            values[row] = 0.0
    return values, reasons


def _checked(values: np.ndarray, b: int, k: int) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.shape != (b, k):
        raise ValueError(f"it returned shape {values.shape} for {b} episodes of {k} turns")
    return values


def _stand_ins(episodes: Sequence[Episode], failed: Bool[np.ndarray, " b"]) -> dict[int, list[int]]:
    """For each failed episode the rows whose mean it gets: its problem's other episodes, or else the whole batch's."""
    whole = np.flatnonzero(~failed).tolist()
    judged = [[row for row in rows if not failed[row]] for rows in _problems(episodes)]
    groups = {episodes[rows[0]].problem.id: rows for rows in judged if rows}
    return {row: groups.get(episodes[row].problem.id, whole) for row in np.flatnonzero(failed).tolist()}
