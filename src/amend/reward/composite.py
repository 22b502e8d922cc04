"""Add reward components: reward = sum over components of weight * component, for each turn.

An exception in a component is never a silent 0. The component is computed again for each problem alone, and for a
failing problem for each episode alone. Only the failing episodes count as failed. They are counted and reported.

In every component and turn, a failed episode gets the mean of the other episodes of its problem. If all episodes of its
problem failed, it gets the mean of the batch. Its reward then equals the baseline of its group. Leave-one-out, group
mean and group normalization therefore give it the advantage 0, and its reward does not change the mean of the group. If
the share of failed episodes exceeds ``max_failures``, the run stops with advice.
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
    """The weighted sum of reward components.

    Args:
        parts: The components by name.
        max_failures: The largest allowed share of failed episodes, from 0 to 1.

    Attributes:
        failures: The number of episodes of the last call that each component could not score.

    Raises:
        UserError: If there is no component, or ``max_failures`` is out of range.
    """

    def __init__(self, parts: Mapping[str, Reward], *, max_failures: float) -> None:
        if not parts:
            raise UserError("reward: there is no component; allowed: at least one, such as reward=oracle")
        if not 0 <= max_failures <= 1:
            raise UserError(f"trainer.max_reward_error_rate={max_failures}: allowed: 0 to 1")
        self._parts = dict(parts)
        self._max_failures = max_failures
        self.failures: dict[str, int] = dict.fromkeys(parts, 0)

    def __call__(self, episodes: Sequence[Episode]) -> list[Scored]:
        """Score episodes.

        Args:
            episodes: The episodes. All episodes of a problem must be in one call.

        Returns:
            Each episode with its reward for each turn, and the unweighted value of each component.

        Raises:
            UserError: If the share of failed episodes exceeds ``max_failures``, or every episode failed.
        """
        b, k = len(episodes), max((len(episode.turns) for episode in episodes), default=0)
        failed = np.zeros(b, dtype=bool)
        values: dict[str, Float[np.ndarray, "b k"]] = {}
        first: dict[str, str] = {}
        for name, part in self._parts.items():
            values[name], reasons = _compute_sharded(part, episodes, k)
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
                f"trainer.max_reward_error_rate={self._max_failures} allows "
                f"({'; '.join(f'{name}: {reason}' for name, reason in first.items())}); "
                "fix that component, or raise trainer.max_reward_error_rate"
            )
        substitutes = _substitute_rows(episodes, failed)
        for part_values in values.values():
            for row, other_rows in substitutes.items():
                part_values[row] = part_values[other_rows].mean(axis=0)
        total = sum((self._parts[name].weight * value for name, value in values.items()), np.zeros((b, k)))
        token_rewards = self._add_token_rewards(episodes, total)
        for row, other_rows in substitutes.items():  # rewards at the tokens of different episodes have no mean
            token_rewards[row] = np.zeros_like(token_rewards[row])
            total[row] = total[other_rows].mean(axis=0)
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

    def _add_token_rewards(self, episodes: Sequence[Episode], total: Float[np.ndarray, "b k"]) -> list[np.ndarray]:
        """Return the sum of all token rewards of each episode, and add them to the turns of ``total``.

        The arrays are empty if no component is a ``DenseReward``.
        """
        dense = [
            collectives.map_sharded(episodes, part.token_rewards)
            for part in self._parts.values()
            if isinstance(part, DenseReward)
        ]
        if not dense:
            return [np.zeros(0)] * len(episodes)
        token_rewards = [np.sum(rows, axis=0) for rows in zip(*dense, strict=True)]
        for row, episode in enumerate(episodes):
            begin = 0
            for k, turn in enumerate(episode.turns):
                length = sum(turn.loss_mask)
                total[row, k] += token_rewards[row][begin : begin + length].sum()
                begin += length
        return token_rewards


def _compute_sharded(
    part: Reward, episodes: Sequence[Episode], k: int
) -> tuple[Float[np.ndarray, "b k"], dict[int, str]]:
    """Return the result of ``_compute``; each rank computes the episodes of its shard of the problems."""

    def compute_shard(shard: Sequence[list[int]]) -> list[list[tuple[np.ndarray, str | None]]]:
        distinct = {rows[0]: rows for rows in shard}  # ``map_sharded`` pads a shard by repeating a problem
        rows = [row for problem_rows in distinct.values() for row in problem_rows]
        values, reasons = _compute(part, [episodes[row] for row in rows], k)
        result_of = {row: (value, reasons.get(i)) for i, (row, value) in enumerate(zip(rows, values, strict=True))}
        return [[result_of[row] for row in problem_rows] for problem_rows in shard]

    groups = _group_by_problem(episodes)
    results = collectives.map_sharded(groups, compute_shard)
    values = np.zeros((len(episodes), k))
    reasons: dict[int, str] = {}
    for rows, group_results in zip(groups, results, strict=True):
        for row, (value, reason) in zip(rows, group_results, strict=True):
            values[row] = value
            if reason is not None:
                reasons[row] = reason
    return values, reasons


def _group_by_problem(episodes: Sequence[Episode]) -> list[list[int]]:
    """Return the rows of each problem's episodes."""
    rows: dict[str, list[int]] = {}
    for row, episode in enumerate(episodes):
        rows.setdefault(episode.problem.id, []).append(row)
    return list(rows.values())


def _compute(part: Reward, episodes: Sequence[Episode], k: int) -> tuple[Float[np.ndarray, "b k"], dict[int, str]]:
    """Return the values of a component, and the reason for each episode that it could not score.

    The values of such an episode are 0.
    """
    reasons: dict[int, str] = {}
    try:
        max_turns = max((len(episode.turns) for episode in episodes), default=0)
        values = np.zeros((len(episodes), k))
        values[:, :max_turns] = _check_shape(part(episodes), len(episodes), max_turns)
    except UserError:
        raise
    except Exception as error:  # fallback: find the episodes that raise; the caller reports the error
        values = np.zeros((len(episodes), k))
        if len(episodes) == 1:
            return values, {0: f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}
        problems = _group_by_problem(episodes)
        for rows in problems if len(problems) > 1 else [[row] for row in problems[0]]:
            row_values, row_reasons = _compute(part, [episodes[row] for row in rows], k)
            values[rows] = row_values
            reasons |= {rows[i]: reason for i, reason in row_reasons.items()}
        return values, reasons
    for row, episode in enumerate(episodes):
        if row not in reasons and not np.isfinite(values[row, : len(episode.turns)]).all():
            reasons[row] = f"its value is {values[row].tolist()}, not finite"
            values[row] = 0.0
    return values, reasons


def _check_shape(values: np.ndarray, b: int, k: int) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.shape != (b, k):
        raise ValueError(f"it returned shape {values.shape} for {b} episodes of {k} turns")
    return values


def _substitute_rows(episodes: Sequence[Episode], failed: Bool[np.ndarray, " b"]) -> dict[int, list[int]]:
    """Return for each failed episode the rows whose mean it gets.

    They are the other episodes of its problem, or all episodes of the batch if every episode of its problem failed.
    """
    all_scored = np.flatnonzero(~failed).tolist()
    scored = [[row for row in rows if not failed[row]] for rows in _group_by_problem(episodes)]
    groups = {episodes[rows[0]].problem.id: rows for rows in scored if rows}
    return {row: groups.get(episodes[row].problem.id, all_scored) for row in np.flatnonzero(failed).tolist()}
