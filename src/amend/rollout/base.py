"""The narrow waist between "what to say next" and "who computes it": every engine is these few members.

    local   the very weights that are trained, in this process, as the trainer reads them               the default
    hf      the same weights under transformers' continuous batching                                    for one GPU
    vllm    a server of its own, sent the weights after every update                    for GPUs set aside to sample

``tests/rollout/test_contract.py`` holds all of them to the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from amend.types import Completion, SamplingParams, Tokens

Seed = tuple[int, ...]


@runtime_checkable
class Engine(Protocol):
    """Draws replies from a policy.

    ``sample`` returns one completion a prompt, in order. Each prompt brings its own seed: the same call draws the same,
    and (but for ``hf``) a reply does not depend on what else is in the call. The log-probabilities are those of the
    drawn tokens under the distribution they were drawn from, as the engine computed it. ``sync`` is called after every
    change of the weights. ``batch`` is how many prompts it likes at once.

    ``importance_sampling_cap``: an engine that does not compute as the trainer does draws from a policy slightly
    beside it; the
    largest weight that a token may have in an update to make up for it, or None to take its word.
    """

    max_batch_size: int
    importance_sampling_cap: float | None

    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]: ...

    def sync_weights(self) -> None: ...

    def reference_engine(self) -> Engine:
        """An engine like this one that samples from the policy's reference."""
        ...
