"""Choose the sampling temperature of each turn as a function of the run's progress.

Havrilla et al. (2024) sample at about 0.7 from a fine-tuned model and at 0.1 to 0.2 from a pretrained model, whose
samples are incoherent at higher temperatures. They raise the temperature during training (Havrilla, TWIML podcast, 16
April 2024). Later turns may need another temperature than the first, so that a correction differs from the first
attempt.

    T(turn, progress) = (1 - w(x)) start[turn] + w(x) end[turn],   x = min(progress / anneal_fraction, 1)
    w(x) = x   linear        w(x) = (1 - cos(pi x)) / 2   cosine

The temperature divides the logits when a token is sampled and when it is trained. The trained policy is therefore the
policy that sampled, at every temperature.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol, runtime_checkable

from amend.errors import UserError
from amend.value_types import Fraction, Positive


@runtime_checkable
class Temperature(Protocol):
    """A temperature schedule."""

    def __call__(self, turn: int, progress: float) -> float:
        """Return the sampling temperature of a turn.

        Args:
            turn: The turn, from 0.
            progress: The finished share of the run, from 0 to 1.
        """
        ...


class Constant:
    """A schedule with the same temperature for the whole run.

    Args:
        value: The temperature of each turn. The last one is for all further turns.
    """

    def __init__(self, *, value: list[Positive]) -> None:
        self._value = _check_not_empty("value", value)

    def __call__(self, turn: int, progress: float) -> float:
        """Return the temperature of the turn; see ``Temperature``."""
        return _for_turn(self._value, turn)


class Anneal:
    """A schedule from ``start`` to ``end`` over the first part of the run. After this part the temperature is ``end``.

    Args:
        start: The first temperature of each turn. The last one is for all further turns.
        end: The final temperature of each turn. The last one is for all further turns.
        schedule: "linear"; or "cosine", which changes slowly at the beginning and at the end.
        anneal_fraction: The share of the run over which the temperature changes. With 0, it is ``end`` from the
            beginning.
    """

    def __init__(
        self,
        *,
        start: list[Positive],
        end: list[Positive],
        schedule: Literal["linear", "cosine"],
        anneal_fraction: Fraction,
    ) -> None:
        self._start, self._end = _check_not_empty("start", start), _check_not_empty("end", end)
        self._schedule, self._anneal_fraction = schedule, anneal_fraction

    def __call__(self, turn: int, progress: float) -> float:
        """Return the temperature of the turn; see ``Temperature``.

        It is exactly ``start`` at the beginning and exactly ``end`` at the end.
        """
        x = progress / self._anneal_fraction if progress < self._anneal_fraction else 1.0
        weight = x if self._schedule == "linear" else (1 - math.cos(math.pi * x)) / 2
        return (1 - weight) * _for_turn(self._start, turn) + weight * _for_turn(self._end, turn)


def _check_not_empty(key: str, value: list[float]) -> list[float]:
    if not value:
        raise UserError(f"temperature.{key}=[]: allowed: at least one number, such as [1.0]")
    return value


def _for_turn(value: list[float], turn: int) -> float:
    return value[min(turn, len(value) - 1)]
