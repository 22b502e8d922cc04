"""The protocols of reward components: one number for each turn, or one number for each trained token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from amend.errors import UserError
from amend.types import Episode


def at_least_zero(name: str, value: float) -> float:
    """Return a weight, and reject a negative one, because it would reward mistakes.

    Args:
        name: The key of the weight in the configuration.
        value: The weight.

    Returns:
        The weight.

    Raises:
        UserError: If the weight is negative or NaN.
    """
    if not value >= 0:
        raise UserError(f"{name}={value}: allowed: at least 0")
    return value


@runtime_checkable
class Reward(Protocol):
    """A component of the reward: one number for each turn of each episode.

    A call contains all episodes of a problem, so that a component may compare them.

    Attributes:
        weight: The factor of the component in the sum of all components.
    """

    weight: float

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Return the value of each turn.

        Args:
            episodes: The b episodes. The longest has k turns.

        Returns:
            The value of each turn, [b k], without the weight. Values after the last turn of an episode are unused.
        """
        ...


@runtime_checkable
class DenseReward(Protocol):
    """A component that also gives rewards at single tokens, before the end of a turn."""

    def token_rewards(self, episodes: Sequence[Episode]) -> list[np.ndarray]:
        """Return the reward of each trained token.

        Args:
            episodes: The episodes.

        Returns:
            One array for each episode with the weighted rewards of its trained tokens, in order; 0 at tokens without a
            reward.
        """
        ...
