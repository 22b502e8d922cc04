"""The engine ``local``: sample from the trained weights in this process. It is the default engine.

It is faster than ``generate`` of transformers (``make benchmark`` measures both) for four reasons:

    prefill      Equal prompts are computed once. All samples of a problem share these keys and values.
    next turn    The cache outlives a call. If a prompt extends a cached row, only the new tokens are computed.
    no copies    Keys and values stay in buffers that all calls share. A step writes one column.
    compaction   Finished rows move behind the unfinished rows and are not computed any more.

Each row has its own stream of uniform random numbers, which depends only on its seed. A uniform number selects a token
by inversion of the row's distribution function. Therefore the tokens of a row do not depend on the other rows, except
for rounding. A matrix product may round differently for another number of rows. Attention may round differently if
another row is longer (``policy.attn_implementation``). Both differences are about 1e-6. If a uniform number is that
close to the boundary between two tokens, the other token may be selected.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from amend.policy.policy import Policy
from amend.rollout.base import Seed
from amend.rollout.kv_cache import KVCache, Rows
from amend.types import Completion, SamplingParams, Stop, Tokens
from amend.value_types import Count, Fraction


class Local:
    """An engine that samples from the policy or its reference model, with the trainer's own computation.

    Args:
        policy: The policy.
        max_batch_size: The number of rows that are sampled at once.
        compaction_threshold: The share of finished rows above which the finished rows are removed from the batch.
    """

    importance_sampling_cap: float | None = None  # the engine computes the trainer's probabilities

    def __init__(self, policy: Policy, *, max_batch_size: Count, compaction_threshold: Fraction) -> None:
        self._policy, self.max_batch_size, self._compaction_threshold = (
            policy,
            max_batch_size,
            compaction_threshold,
        )
        self._uses_reference = False
        self._cache: KVCache | None = None
        self._spare: Rows | None = None  # buffers for all calls; a new allocation takes as long as one layer

    def reference_engine(self) -> Local:
        """Return an engine of this kind that samples from the reference model."""
        engine = Local(
            self._policy, max_batch_size=self.max_batch_size, compaction_threshold=self._compaction_threshold
        )
        engine._uses_reference = True
        return engine

    def sync_weights(self) -> None:
        """Drop the cache, because it was computed with the old weights."""
        self._cache = None

    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]:
        """Sample one completion for each prompt; see ``Engine``."""
        replies: list[Completion] = []
        for start in range(0, len(prompts), self.max_batch_size):
            part = slice(start, start + self.max_batch_size)
            with self._policy.no_grad_context():
                replies += self._sample(list(prompts[part]), sampling_params, seeds[part])
        return replies

    def _sample(
        self, prompts: list[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]:
        device = self._policy.device
        uniforms = (
            torch.from_numpy(streams(seeds, sampling_params.max_tokens)).to(device)
            if sampling_params.temperature > 0
            else None
        )
        with self._policy.autocast(), self._policy.model_or_reference(self._uses_reference) as lm:
            rows, who, logits = self._prefill(lm, prompts, sampling_params.max_tokens)
            ends = torch.tensor([*self._policy.ends, *sorted(sampling_params.pause)], device=device)
            tokens, logp, who = self._decode(rows, who, logits, sampling_params, uniforms, ends)
        replies, lengths = [], (tokens >= 0).sum(dim=1).tolist()
        for i, (ids, lps) in enumerate(zip(tokens.tolist(), logp.tolist(), strict=True)):
            reply = tuple(ids[: lengths[i]])
            stop: Stop = (
                "end" if reply[-1] in self._policy.ends else "pause" if reply[-1] in sampling_params.pause else "length"
            )
            replies.append(Completion(reply, tuple(lps[: lengths[i]]), self._policy.decode(reply), stop))
        # The last token of a reply has no keys and values yet.
        known = [prompt + completion.tokens[:-1] for prompt, completion in zip(prompts, replies, strict=True)]
        self._cache = KVCache(known, rows, who)
        return replies

    def _prefill(self, lm: PreTrainedModel, prompts: list[Tokens], room: int) -> tuple[Rows, Tensor, Tensor]:
        """Compute the prompts, or only their new tokens if they extend the prompts and replies of the last call.

        Returns the cache, the index of the prompt of each row, and the logits after each row. The cache has room for
        ``room`` more tokens per row.
        """
        cache, self._cache = self._cache, None
        if (
            cache
            and len(cache.known) == len(prompts)
            and all(
                len(prompt) > len(known) and prompt[: len(known)] == known
                for prompt, known in zip(prompts, cache.known, strict=True)
            )
        ):
            new = [prompts[i][len(cache.known[i]) :] for i in cache.who.tolist()]
            rows = cache.rows
            capacity = rows.width + max(map(len, new)) + room
            if not rows.holds(len(prompts), capacity):
                rows = self._buffers(lm, len(prompts), capacity)
                rows.take(cache.rows, torch.arange(len(prompts), device=cache.who.device))
            return rows, cache.who, rows.read(*self._pad(new))
        distinct = list(dict.fromkeys(prompts))
        row_of = {prompt: i for i, prompt in enumerate(distinct)}
        shared = Rows(self._policy, lm, len(distinct), max(map(len, distinct)), self._policy.device)
        logits = shared.read(*self._pad(distinct))
        shared_rows = torch.tensor([row_of[prompt] for prompt in prompts], device=logits.device)
        who = torch.arange(len(prompts), device=logits.device)
        rows = self._buffers(lm, len(prompts), shared.width + room)
        rows.take(shared, shared_rows)
        return rows, who, logits[shared_rows]

    def _buffers(self, lm: PreTrainedModel, count: int, capacity: int) -> Rows:
        """Return the buffers of the last call if they are large enough, else allocate larger buffers."""
        if self._spare is None or not self._spare.holds(count, capacity):
            largest = (self._spare.count, self._spare.capacity) if self._spare else (0, 0)
            count, capacity = max(count, largest[0]), max(capacity, largest[1])
            self._spare = Rows(self._policy, lm, count, capacity, self._policy.device)
        return self._spare

    def _pad(self, rows: list[Tokens]) -> tuple[Tensor, Tensor]:
        """Return token rows of different lengths as one tensor [b q], padded on the right, and their lengths."""
        counts = [len(row) for row in rows]
        padded = np.zeros((len(rows), max(counts)), dtype=np.int64)
        for i, row in enumerate(rows):
            padded[i, : counts[i]] = row
        device = self._policy.device
        return torch.from_numpy(padded).to(device), torch.tensor(counts, device=device)

    def _decode(
        self,
        rows: Rows,
        who: Tensor,
        logits: Tensor,
        sampling_params: SamplingParams,
        uniforms: Tensor | None,
        ends: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sample tokens until every row has ended or has ``max_tokens`` tokens.

        Returns the tokens [b max_tokens] (-1 after the end) and their log-probabilities in the order of the prompts,
        and the index of the prompt of each row of the cache.
        """
        device, count = logits.device, len(logits)
        tokens = torch.full((count, sampling_params.max_tokens), -1, dtype=torch.long, device=device)
        logp = torch.zeros(count, sampling_params.max_tokens, device=device)
        ended = torch.zeros(count, dtype=torch.bool, device=device)  # of the first m rows, which are still computed
        for step in range(sampling_params.max_tokens):
            m = len(ended)
            prompt = who[:m]
            token, lp = draw(logits, sampling_params.temperature, None if uniforms is None else uniforms[prompt, step])
            tokens[prompt, step] = torch.where(ended, -1, token)
            logp[prompt, step] = torch.where(ended, 0.0, lp)
            ended = ended | torch.isin(token, ends)
            alive = m - int(ended.sum())
            if step == sampling_params.max_tokens - 1 or not self._policy.any_rank(alive > 0):
                break
            if alive and m - alive > self._compaction_threshold * m:
                finished, unfinished = ended[:alive].nonzero()[:, 0], alive + (~ended[alive:]).nonzero()[:, 0]
                rows.swap(finished, unfinished)
                who = who.clone()
                who[torch.cat([finished, unfinished])] = who[torch.cat([unfinished, finished])]
                token[finished] = token[unfinished]
                token, ended = token[:alive], torch.zeros(alive, dtype=torch.bool, device=device)
            # A finished row in the batch gets a token that the mask hides.
            logits = rows.read(token[:, None], (~ended).long())
        return tokens, logp, who


def draw(logits: Tensor, temperature: float, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sample one token for each row by inversion of the distribution function.

    The token is the first one at which the cumulative probability exceeds the uniform number of the row.

    Args:
        logits: The logits of each row, [b v].
        temperature: The sampling temperature. With 0, the token is the most probable one (the first of equals).
        uniform: A number in [0, 1) for each row, [b]; None for greedy decoding.

    Returns:
        The tokens [b] and their log-probabilities [b] in nats, with the temperature applied; at temperature 0, those of
        temperature 1.
    """
    rows = torch.log_softmax(logits / (temperature or 1.0), dim=-1)
    if uniform is None:
        token = rows.argmax(dim=-1)
    else:
        running = rows.exp().cumsum(dim=-1)
        total = running[:, -1]
        level = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
        token = torch.searchsorted(running, level[:, None], right=True)[:, 0]
    return token, rows.gather(1, token[:, None])[:, 0]


def streams(seeds: Sequence[Seed], length: int) -> np.ndarray:
    """Return uniform random numbers in [0, 1) for each seed, float32 [len(seeds), length].

    Each row depends only on its own seed.
    """
    words = np.stack([np.random.SeedSequence(seed).generate_state(length, np.uint32) for seed in seeds])
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
