"""The engine for a GPU that nothing else shares: transformers' own continuous batching, over the weights that train.

Replies that end leave the batch at once and waiting ones take their place; keys and values live in pages, CUDA graphs
and FlashAttention are used where the machine has them. On a processor it works, slowly: ``local`` is the engine there.

``generate_batch`` is its usual door. It starts its thread first and hands in prompts after, so which of them share the
first step, and with it every draw, may depend on timing. Here the same manager is filled first and started then: a
call is a function of its prompts and seeds. Its random numbers are one stream a call, named by all of its
seeds, so unlike the other engines' a reply does depend on what else is in the call.

    tokens are drawn from softmax(logits / temperature), no top-k, no top-p, and their log-probabilities are of that
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

PAGE = 256  # tokens a page of the cache holds: what FlashAttention's paged kernels want
STEP = 8192  # prompt tokens read in one step, at the most


class HF:
    """Samples from ``policy`` (from its reference, with ``frozen``), in the precision its weights are stored in.

    ``batch`` episodes are in the cache at once. ``importance_sampling_cap``: see ``Engine``.
    """

    def __init__(self, policy: Policy, *, max_batch_size: Count, importance_sampling_cap: Positive | None) -> None:
        self._policy, self.max_batch_size, self.importance_sampling_cap = (
            policy,
            max_batch_size,
            importance_sampling_cap,
        )
        self._of_reference = False

    def reference_engine(self) -> HF:
        """The same engine over the frozen reference."""
        twin = HF(
            self._policy, max_batch_size=self.max_batch_size, importance_sampling_cap=self.importance_sampling_cap
        )
        twin._of_reference = True
        return twin

    def sync_weights(self) -> None:
        """Nothing to do: no cache outlives its call, and the weights are the trainer's own."""

    @torch.no_grad()
    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]:
        """One completion a prompt; see ``Engine``."""
        replies: list[Completion] = []
        for start in range(0, len(prompts), self.max_batch_size):
            cut = slice(start, start + self.max_batch_size)
            with self._policy.model_or_reference(self._of_reference) as lm, _plain_attention(lm), _own_randomness(lm):
                outputs = self._generated(lm, prompts[cut], sampling_params, seeds[cut])
            replies += [self._completion(output, sampling_params) for output in outputs]
        return replies

    def _generated(
        self, lm: Any, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Any]:
        """transformers' outputs, in the order of the prompts."""
        longest = max(map(len, prompts))
        wanted = GenerationConfig(
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
            ),  # room for all: none waits
            max_batch_tokens=min(STEP, max(sum(map(len, prompts)), len(prompts))),
            return_logprobs=True,
            seed=int(np.random.SeedSequence([x for seed in seeds for x in (len(seed), *seed)]).generate_state(1)[0]),
            auto_switch_to_flash=lm.dtype == torch.bfloat16 and lm.device.type == "cuda",  # it knows no float32
        )
        manager = lm.init_continuous_batching(
            wanted, settings, WorkloadHints(longest, sampling_params.max_tokens, len(prompts))
        )
        found: dict[str, Any] = {}
        try:
            if attention.caps_scores(lm.config) and lm.config._attn_implementation == "paged|eager":
                raise UserError(
                    f"rollout=hf: {lm.config.model_type} caps its attention scores, which transformers' pages do with "
                    "FlashAttention alone (a GPU, bfloat16 weights); allowed: that, rollout=local, rollout=vllm"
                )
            if lm.device.type == "cuda":
                manager.warmup()
            names = manager.add_requests([list(p) for p in prompts], max_new_tokens=sampling_params.max_tokens)
            manager.start()
            while len(found) < len(names):
                output = manager.get_result(timeout=1)
                if output is not None and output.is_finished():
                    found[output.request_id] = output
                elif output is None and not manager.is_running():
                    break
            failed = manager.background_thread_status.fatal_error
        finally:
            manager.stop(block=True)
            manager.destroy()
        if failed is not None or len(found) < len(names) or any(output.error for output in found.values()):
            self._explain(failed or next((o.error for o in found.values() if o.error), "it stopped"))
        return [found[name] for name in names]

    def _explain(self, failed: object) -> None:
        if isinstance(failed, MemoryError | torch.OutOfMemoryError):
            raise UserError(
                f"rollout.max_batch_size={self.max_batch_size}: the cache of so many replies does not fit; "
                f"allowed: fewer"
            )
        raise RuntimeError(f"transformers' continuous batching failed: {failed}")

    def _completion(self, output: Any, sampling_params: SamplingParams) -> Completion:
        drawn = tuple(output.generated_tokens)
        stop: Stop = (
            "end" if drawn[-1] in self._policy.ends else "pause" if drawn[-1] in sampling_params.pause else "length"
        )
        return Completion(drawn, tuple(output.logprobs), self._policy.decode(drawn), stop)


@contextmanager
def _plain_attention(lm: PreTrainedModel) -> Iterator[None]:
    """Within, attention is one that knows pages: amend's own, for short rows on a processor, does not."""
    before = lm.config._attn_implementation
    if before == attention.NAME:
        lm.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        lm.set_attn_implementation(before)


@contextmanager
def _own_randomness(lm: PreTrainedModel) -> Iterator[None]:
    """Within, torch's global generators may be seeded and used; afterwards they are where they were."""
    devices = [lm.device] if lm.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
