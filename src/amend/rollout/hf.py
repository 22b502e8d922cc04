"""The engine ``hf``: sample from the trained weights with the continuous batching of transformers.

It is meant for a GPU that no other process uses. It works on a CPU, but is slow there; ``local`` is the engine for
CPUs. A finished reply leaves the batch at once, and a waiting prompt takes its slot. The cache of keys and values is
paged. CUDA graphs and FlashAttention are used if the machine supports them.

This engine does not call ``generate_batch``. That function starts its thread before it adds the prompts. Timing then
decides which prompts share the first step, and so changes the samples. This engine adds all prompts to the manager
before it starts the thread, so a call depends only on its prompts and seeds. One random stream, seeded with all seeds
of the call, samples all its replies. Unlike with other engines, a reply depends on the other prompts of the call.

Tokens are sampled from softmax(logits / temperature), without top-k and top-p. Log-probabilities are those of this
distribution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.utils import WorkloadHints

from amend.errors import UserError
from amend.policy import attention
from amend.policy.policy import Policy
from amend.rollout.base import Seed
from amend.types import Completion, SamplingParams, Stop, Tokens
from amend.value_types import Count, Positive

PAGE = 256  # tokens per page of the cache; FlashAttention's paged kernels require this size
STEP = 8192  # maximum number of prompt tokens per step


class HF:
    """An engine that samples from the policy or its reference model, in the precision in which the weights are stored.

    Args:
        policy: The policy.
        max_batch_size: The number of episodes that are in the cache at once.
        importance_sampling_cap: See ``Engine``.
    """

    def __init__(self, policy: Policy, *, max_batch_size: Count, importance_sampling_cap: Positive | None) -> None:
        self._policy, self.max_batch_size, self.importance_sampling_cap = (
            policy,
            max_batch_size,
            importance_sampling_cap,
        )
        self._uses_reference = False

    def reference_engine(self) -> HF:
        """Return an engine of this kind that samples from the reference model."""
        engine = HF(
            self._policy, max_batch_size=self.max_batch_size, importance_sampling_cap=self.importance_sampling_cap
        )
        engine._uses_reference = True
        return engine

    def sync_weights(self) -> None:
        """Do nothing: the engine uses the trainer's weights, and no cache outlives a call."""

    @torch.no_grad()
    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]:
        """Sample one completion for each prompt; see ``Engine``."""
        replies: list[Completion] = []
        for start in range(0, len(prompts), self.max_batch_size):
            part = slice(start, start + self.max_batch_size)
            with (
                self._policy.model_or_reference(self._uses_reference) as lm,
                _paged_attention(lm),
                _preserve_rng_state(lm),
            ):
                outputs = self._generate(lm, prompts[part], sampling_params, seeds[part])
            replies += [self._completion(output, sampling_params) for output in outputs]
        return replies

    def _generate(
        self, lm: Any, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Any]:
        """Return the outputs of transformers in the order of the prompts."""
        longest = max(map(len, prompts))
        generation = GenerationConfig(
            max_new_tokens=sampling_params.max_tokens,
            eos_token_id=[*self._policy.ends, *sorted(sampling_params.pause)],
            do_sample=sampling_params.temperature > 0,
            **(
                {"temperature": sampling_params.temperature, "top_k": 0, "top_p": 1.0}
                if sampling_params.temperature > 0
                else {}
            ),
        )
        settings = ContinuousBatchingConfig(
            page_size=PAGE,
            num_blocks=sum(
                -(-(len(p) + sampling_params.max_tokens) // PAGE) + 1 for p in prompts
            ),  # room for all prompts, so that no prompt waits
            max_batch_tokens=min(STEP, max(sum(map(len, prompts)), len(prompts))),
            return_logprobs=True,
            seed=int(np.random.SeedSequence([x for seed in seeds for x in (len(seed), *seed)]).generate_state(1)[0]),
            auto_switch_to_flash=lm.dtype == torch.bfloat16 and lm.device.type == "cuda",  # not in float32
        )
        manager = lm.init_continuous_batching(
            generation, settings, WorkloadHints(longest, sampling_params.max_tokens, len(prompts))
        )
        outputs: dict[str, Any] = {}
        try:
            if attention.caps_scores(lm.config) and lm.config._attn_implementation == "paged|eager":
                raise UserError(
                    f"rollout=hf: {lm.config.model_type} caps its attention scores. transformers' paged attention "
                    "supports this only with FlashAttention; allowed: a GPU with bfloat16 weights, rollout=local, "
                    "rollout=vllm"
                )
            if lm.device.type == "cuda":
                manager.warmup()
            request_ids = manager.add_requests([list(p) for p in prompts], max_new_tokens=sampling_params.max_tokens)
            manager.start()
            while len(outputs) < len(request_ids):
                output = manager.get_result(timeout=1)
                if output is not None and output.is_finished():
                    outputs[output.request_id] = output
                elif output is None and not manager.is_running():
                    break
            failure = manager.background_thread_status.fatal_error
        finally:
            manager.stop(block=True)
            manager.destroy()
        if failure is not None or len(outputs) < len(request_ids) or any(output.error for output in outputs.values()):
            self._raise_error(failure or next((o.error for o in outputs.values() if o.error), "it stopped"))
        return [outputs[request_id] for request_id in request_ids]

    def _raise_error(self, failure: object) -> None:
        if isinstance(failure, MemoryError | torch.OutOfMemoryError):
            raise UserError(
                f"rollout.max_batch_size={self.max_batch_size}: the cache of so many replies does not fit in memory; "
                f"allowed: a smaller number"
            )
        raise RuntimeError(f"transformers' continuous batching failed: {failure}")

    def _completion(self, output: Any, sampling_params: SamplingParams) -> Completion:
        tokens = tuple(output.generated_tokens)
        stop: Stop = (
            "end" if tokens[-1] in self._policy.ends else "pause" if tokens[-1] in sampling_params.pause else "length"
        )
        return Completion(tokens, tuple(output.logprobs), self._policy.decode(tokens), stop)


@contextmanager
def _paged_attention(lm: PreTrainedModel) -> Iterator[None]:
    """Replace amend's attention implementation inside the context, because it does not support a paged cache."""
    before = lm.config._attn_implementation
    if before == attention.NAME:
        lm.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        lm.set_attn_implementation(before)


@contextmanager
def _preserve_rng_state(lm: PreTrainedModel) -> Iterator[None]:
    """Restore torch's global random number generators at the end of the context."""
    devices = [lm.device] if lm.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
