"""What every algorithm is given: the context of a run, and the keys that trained algorithms share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from amend.algo.gradient_update import OptimizerConfig
from amend.types import Budget, Episode, Scored
from amend.value_types import Count, Natural

if TYPE_CHECKING:  # an algorithm is given these objects and never imports their packages
    from amend.exploration import Exploration
    from amend.policy.policy import Policy
    from amend.rollout.runner import RolloutRunner

RewardFunction = Callable[[Sequence[Episode]], list[Scored]]


class AlgorithmContext(NamedTuple):
    """What every algorithm is given.

    Attributes:
        policy: the model that is trained, and its reference.
        runner: the rollout runner, which plays episodes with the policy.
        reward: the reward function, from episodes to scored episodes.
        explore: the exploration strategies.
        budget: what the run may spend.
        seed: seed of the run.
    """

    policy: Policy
    runner: RolloutRunner
    reward: RewardFunction
    exploration: Exploration
    budget: Budget
    seed: int


class LoopConfig(OptimizerConfig):
    """Keys of every algorithm that is trained."""

    num_iterations: Natural
    """Largest number of iterations; ``budget`` may end the run earlier."""
    groups_per_batch: Count
    """Problems of one iteration."""
    group_size: Count
    """Episodes of each problem."""
    turns: Count
    """Turns of an episode."""
    max_tokens: Count
    """Largest number of tokens of one reply, the end token included."""
