"""The engine that needs nothing: samples from the very weights that are trained, in this process.

What makes it faster than ``generate`` (``make benchmark`` measures it):

    one prefill a problem     equal prompts are read once, and their keys and values shared out to all samples
    turn 2 from turn 1        the cache is kept between calls; a prompt that extends a known row reads only the new part
    no copying                keys and values live in buffers that are kept between calls; a step writes one column
    compaction                rows that have ended change places with the last that have not, and are read no further

Each row draws from its own stream of uniforms, a function of its seed alone, by inverting its own distribution. So for
a given seed a row's tokens are the same whatever else is in the batch, wherever the arithmetic allows it: a matrix
product may round differently for another number of rows, and attention beside a longer row
(``policy.attn_implementation``), each
by about 1e-6; then a draw that falls within that distance of a boundary between two tokens may fall to the other side.
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
    """Samples from ``policy`` (from its reference, with ``frozen``: base-model first attempts come from there).

    ``batch`` rows are sampled at once; once a share ``compact`` of those being read have ended, they are left out.
    """

    importance_sampling_cap: float | None = None  # it computes what the trainer computes

    def __init__(self, policy: Policy, *, max_batch_size: Count, compaction_threshold: Fraction) -> None:
        self._policy, self.max_batch_size, self._compact = policy, max_batch_size, compaction_threshold
        self._of_reference = False
        self._memory: KVCache | None = None
        self._spare: Rows | None = None  # buffers, kept: to allocate them anew would cost as much as a layer

    def reference_engine(self) -> Local:
        """The same engine over the frozen reference."""
        twin = Local(self._policy, max_batch_size=self.max_batch_size, compaction_threshold=self._compact)
        twin._of_reference = True
        return twin

    def sync_weights(self) -> None:
        """Forget the cache: it was computed under weights that have changed."""
        self._memory = None

    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]:
        """One completion a prompt; see ``Engine``."""
        replies: list[Completion] = []
        for start in range(0, len(prompts), self.max_batch_size):
            cut = slice(start, start + self.max_batch_size)
            with self._policy.no_grad_context():
                replies += self._sample(list(prompts[cut]), sampling_params, seeds[cut])
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
        with self._policy.autocast(), self._policy.model_or_reference(self._of_reference) as lm:
            rows, who, logits = self._start(lm, prompts, sampling_params.max_tokens)
            ends = torch.tensor([*self._policy.ends, *sorted(sampling_params.pause)], device=device)
            tokens, logp, who = self._decode(rows, who, logits, sampling_params, uniforms, ends)
        replies, lengths = [], (tokens >= 0).sum(dim=1).tolist()
        for i, (ids, lps) in enumerate(zip(tokens.tolist(), logp.tolist(), strict=True)):
            drawn = tuple(ids[: lengths[i]])
            stop: Stop = (
                "end" if drawn[-1] in self._policy.ends else "pause" if drawn[-1] in sampling_params.pause else "length"
            )
            replies.append(Completion(drawn, tuple(lps[: lengths[i]]), self._policy.decode(drawn), stop))
        known = [prompt + reply.tokens[:-1] for prompt, reply in zip(prompts, replies, strict=True)]
        self._memory = KVCache(known, rows, who)
        return replies

    def _start(self, lm: PreTrainedModel, prompts: list[Tokens], room: int) -> tuple[Rows, Tensor, Tensor]:
        """The prompts in a cache with room for ``room`` more tokens, which prompt each of its rows is, and the logits
        after each row. Goes on from the last call where these prompts extend it."""
        memory, self._memory = self._memory, None
        if (
            memory
            and len(memory.known) == len(prompts)
            and all(
                len(prompt) > len(seen) and prompt[: len(seen)] == seen
                for prompt, seen in zip(prompts, memory.known, strict=True)
            )
        ):
            new = [prompts[i][len(memory.known[i]) :] for i in memory.who.tolist()]
            rows = memory.rows
            capacity = rows.width + max(map(len, new)) + room
            if not rows.holds(len(prompts), capacity):
                rows = self._buffers(lm, len(prompts), capacity)
                rows.take(memory.rows, torch.arange(len(prompts), device=memory.who.device))
            return rows, memory.who, rows.read(*self._rectangle(new))
        distinct = list(dict.fromkeys(prompts))
        which = {prompt: i for i, prompt in enumerate(distinct)}
        shared = Rows(self._policy, lm, len(distinct), max(map(len, distinct)), self._policy.device)
        logits = shared.read(*self._rectangle(distinct))
        rows_of = torch.tensor([which[prompt] for prompt in prompts], device=logits.device)
        who = torch.arange(len(prompts), device=logits.device)
        rows = self._buffers(lm, len(prompts), shared.width + room)
        rows.take(shared, rows_of)
        return rows, who, logits[rows_of]

    def _buffers(self, lm: PreTrainedModel, count: int, capacity: int) -> Rows:
        """The last call's buffers where they are large enough, else new ones as large as any call has needed."""
        if self._spare is None or not self._spare.holds(count, capacity):
            largest = (self._spare.count, self._spare.capacity) if self._spare else (0, 0)
            count, capacity = max(count, largest[0]), max(capacity, largest[1])
            self._spare = Rows(self._policy, lm, count, capacity, self._policy.device)
        return self._spare

    def _rectangle(self, rows: list[Tokens]) -> tuple[Tensor, Tensor]:
        """Ragged token rows as [b q], padded on the right, and their lengths."""
        counts = [len(row) for row in rows]
        rectangle = np.zeros((len(rows), max(counts)), dtype=np.int64)
        for i, row in enumerate(rows):
            rectangle[i, : counts[i]] = row
        device = self._policy.device
        return torch.from_numpy(rectangle).to(device), torch.tensor(counts, device=device)

    def _decode(
        self,
        rows: Rows,
        who: Tensor,
        logits: Tensor,
        sampling_params: SamplingParams,
        uniforms: Tensor | None,
        ends: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw until every row has ended or has ``max_tokens``: tokens [b max_tokens] (-1 after the end) and logp in
        the order of the prompts, and which prompt each row of the cache is by now."""
        device, count = logits.device, len(logits)
        tokens = torch.full((count, sampling_params.max_tokens), -1, dtype=torch.long, device=device)
        logp = torch.zeros(count, sampling_params.max_tokens, device=device)
        ended = torch.zeros(count, dtype=torch.bool, device=device)  # of the rows being read, which stand first
        for step in range(sampling_params.max_tokens):
            m = len(ended)
            now = who[:m]
            token, lp = draw(logits, sampling_params.temperature, None if uniforms is None else uniforms[now, step])
            tokens[now, step] = torch.where(ended, -1, token)
            logp[now, step] = torch.where(ended, 0.0, lp)
            ended = ended | torch.isin(token, ends)
            alive = m - int(ended.sum())
            if step == sampling_params.max_tokens - 1 or not self._policy.any_rank(alive > 0):
                break
            if alive and m - alive > self._compact * m:
                gone, staying = ended[:alive].nonzero()[:, 0], alive + (~ended[alive:]).nonzero()[:, 0]
                rows.swap(gone, staying)
                who = who.clone()
                who[torch.cat([gone, staying])] = who[torch.cat([staying, gone])]
                token[gone] = token[staying]
                token, ended = token[:alive], torch.zeros(alive, dtype=torch.bool, device=device)
            # An ended row still in the batch is given a token that no later one will see.
            logits = rows.read(token[:, None], (~ended).long())
        return tokens, logp, who


def draw(logits: Tensor, temperature: float, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """One token a row of logits [b v], and its log-probability [b] under the distribution it was drawn from.

    By inversion: the first token at which the running sum of probabilities exceeds the row's uniform. At temperature 0
    the most probable token (the first of equals), with its log-probability at temperature 1.
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
    """Uniforms in [0, 1), float32 [len(seeds), length]; each row a function of its own seed alone."""
    words = np.stack([np.random.SeedSequence(seed).generate_state(length, np.uint32) for seed in seeds])
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
