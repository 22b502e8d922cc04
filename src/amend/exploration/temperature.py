"""Temperature: how freely each turn is sampled, as a function of how much of the run is over.

Havrilla et al. (2024) explore at about 0.7 from a fine-tuned model and at 0.1 to 0.2 from a pretrained one, whose
samples fall apart when they are hotter, and let it rise as training goes on (spoken: TWIML, 16 April 2024). Later turns
may want another number than the first: a correction that is to differ has to be let differ.

    T(turn, done) = (1 - w(x)) start[turn] + w(x) end[turn],   x = min(done / until, 1)
    w(x) = x   linear        w(x) = (1 - cos(pi x)) / 2   cosine

The temperature divides the logits when a token is drawn and when it is trained, so the policy that is improved is the
one that sampled, at whatever temperature that was.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol, runtime_checkable

from amend.errors import UserError
from amend.value_types import Fraction, Positive


@runtime_checkable
class Temperature(Protocol):
    """What a turn is sampled at."""

    def __call__(self, turn: int, progress: float) -> float:
        """The temperature of ``turn`` (from 0) when the share ``progress`` of the run, 0 to 1, is over."""
        ...


class Constant:
    """The same all run long. ``value``: one number for each turn, the last of them for all further turns."""

    def __init__(self, *, value: list[Positive]) -> None:
        self._value = _given("value", value)

    def __call__(self, turn: int, progress: float) -> float:
        """The turn's number."""
        return _of(self._value, turn)


class Anneal:
    """From ``start`` to ``end`` over the first ``anneal_fraction`` of the run, and ``end`` from there on.

    start, end: one number for each turn, the last of them for all further turns
    schedule:   linear; or cosine, which leaves slowly and arrives slowly
    anneal_fraction: share of the run; 0 is at ``end`` from the first round
    """

    def __init__(
        self,
        *,
        start: list[Positive],
        end: list[Positive],
        schedule: Literal["linear", "cosine"],
        anneal_fraction: Fraction,
    ) -> None:
        self._start, self._end = _given("start", start), _given("end", end)
        self._schedule, self._anneal_fraction = schedule, anneal_fraction

    def __call__(self, turn: int, progress: float) -> float:
        """The turn's number by now; exactly ``start`` at first and exactly ``end`` at last."""
        way = progress / self._anneal_fraction if progress < self._anneal_fraction else 1.0
        weight = way if self._schedule == "linear" else (1 - math.cos(math.pi * way)) / 2
        return (1 - weight) * _of(self._start, turn) + weight * _of(self._end, turn)


def _given(key: str, value: list[float]) -> list[float]:
    if not value:
        raise UserError(f"temperature.{key}=[]: allowed: at least one number, such as [1.0]")
    return value


def _of(value: list[float], turn: int) -> float:
    return value[min(turn, len(value) - 1)]
