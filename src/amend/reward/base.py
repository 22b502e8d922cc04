"""The protocols of a reward: one number for each turn, or rewards at single tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from amend.errors import UserError
from amend.types import Episode


def at_least_zero(name: str, value: float) -> float:
    """The value, or UserError: a weight below zero would pay for mistakes."""
    if not value >= 0:
        raise UserError(f"{name}={value}: allowed: at least 0")
    return value


@runtime_checkable
class Reward(Protocol):
    """One number a turn for each episode, judged for itself or beside the problem's others, which come together."""

    weight: float

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Rewards of b episodes at k turns, k being the most that one has; what lies beyond an episode's is unused."""
        ...


@runtime_checkable
class DenseReward(Protocol):
    """A part that also pays on the way: its weight already counted, one number for each trained token of an episode."""

    def token_rewards(self, episodes: Sequence[Episode]) -> list[np.ndarray]:
        """The pay of each episode's trained tokens, in order; 0 where nothing is paid."""
        ...
