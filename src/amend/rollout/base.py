"""The protocol of engines. An engine samples replies from the policy.

    local   samples from the trained weights in this process; the default
    hf      samples from the trained weights with transformers' continuous batching; meant for one GPU
    vllm    samples on a vLLM server with its own GPUs; it sends the weights to the server after every update

``tests/rollout/test_contract.py`` runs the same tests on all engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from amend.types import Completion, SamplingParams, Tokens

Seed = tuple[int, ...]


@runtime_checkable
class Engine(Protocol):
    """An engine samples replies from a policy.

    Attributes:
        max_batch_size: The number of prompts that the engine samples at once.
        importance_sampling_cap: The largest importance weight of a token in an update. The weight corrects the
            difference between the engine's probabilities and the trainer's. None: no correction.
    """

    max_batch_size: int
    importance_sampling_cap: float | None

    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]:
        """Sample one completion for each prompt.

        The same prompts with the same seeds give the same completions. Except with ``hf``, a completion does not depend
        on the other prompts of the call.

        Args:
            prompts: The tokens of each prompt.
            sampling_params: The temperature and the maximum length of all replies, and the tokens at which the engine
                may pause.
            seeds: The seed of each prompt.

        Returns:
            One completion for each prompt, in order. Its log-probabilities are those of the distribution that the
            engine sampled from, in nats, with the temperature applied. Greedy replies have those of temperature 1.
        """
        ...

    def sync_weights(self) -> None:
        """Update the weights that the engine samples from. The caller calls it after every change of the weights."""
        ...

    def reference_engine(self) -> Engine:
        """Return an engine of the same kind that samples from the policy's reference model.

        Returns:
            The engine. It shares the policy with this engine.
        """
        ...
