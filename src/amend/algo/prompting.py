"""Prompting methods, which train nothing: the baselines at the same number of sampled tokens.

A method implements ``generate``. The tables show its first attempt and its final answer, as they show the two attempts
of a trained policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

from amend.algo.context import AlgorithmContext
from amend.types import Episode, Problem, SamplingParams
from amend.value_types import Count


class PromptingConfig(TypedDict):
    """Keys of every prompting method."""

    max_tokens: Count
    """Largest number of tokens of one reply, the end token included."""


class Prompting:
    """A ``GenerationStrategy`` that answers with the dialogue alone.

    Args:
        context: The policy, the runner and the seed of the run.
        **prompting: The keys of ``PromptingConfig``.
    """

    online = False
    num_iterations = 0
    iteration = 0

    def __init__(self, context: AlgorithmContext, **prompting: Unpack[PromptingConfig]) -> None:
        self.policy, self.runner, self.max_tokens = context.policy, context.runner, prompting["max_tokens"]
        self.counters = {"episodes": 0, "sampled_tokens": 0, "optimizer_steps": 0}

    def generate(
        self,
        problems: Sequence[Problem],
        group_size: int,
        sampling_params: Sequence[SamplingParams],
        seed: tuple[int, ...],
    ) -> list[Episode]:
        """Answer problems, see ``GenerationStrategy``."""
        return self.runner(problems, group_size, sampling_params, seed)
