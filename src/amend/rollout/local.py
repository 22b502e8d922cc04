"""The engine that needs nothing: samples from the very weights that are trained, in this process.

What makes it faster than ``generate`` (``make benchmark`` measures it):

    one prefill a problem     equal prompts are read once, and their keys and values shared out to all samples
    turn 2 from turn 1        the cache is kept between calls; a prompt that extends a known row reads only the new part
    no copying                keys and values live in buffers allocated once; each row writes at its own length
    compaction                rows that have ended are taken out of the batch as it empties

Each row draws from its own stream of uniforms, a function of its seed alone, by inverting its own distribution. So for
a given seed a row's tokens are the same whatever else is in the batch, wherever the arithmetic allows it: a matrix
product may round differently for another number of rows (about 1e-6), and then a draw that falls within that distance
of a boundary between two tokens may fall to the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin

from amend.bounds import Count, Fraction
from amend.policy.model import Policy
from amend.rollout.engine import Seed
from amend.types import Completion, Sampling, Stop, Tokens


class _Layer(CacheLayerMixin):
    """One layer's keys and values, [b heads capacity dim]; row i's next token goes to slot at[i]."""

    is_sliding = False

    def __init__(self, shared: _Rows) -> None:
        super().__init__()
        self._shared = shared

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        b, heads, _, dim = key_states.shape
        self.keys = key_states.new_zeros(b, heads, self._shared.capacity, dim)
        self.values = value_states.new_zeros(b, heads, self._shared.capacity, value_states.shape[-1])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        rows, slots = self._shared.write
        self.keys[rows, :, slots] = key_states.transpose(1, 2)
        self.values[rows, :, slots] = value_states.transpose(1, 2)
        return self.keys[:, :, : self._shared.upto], self.values[:, :, : self._shared.upto]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._shared.upto, 0

    def get_seq_length(self) -> int:
        return 0  # rows differ in length; positions and masks are always given

    def get_max_length(self) -> int:
        return self._shared.capacity


class _Rows:
    """The rows of a batch and their cache: how many tokens of each are in it, and the forward pass that adds more."""

    def __init__(self, policy: Policy, lm: PreTrainedModel, count: int, capacity: int, device: torch.device) -> None:
        self.policy, self.lm, self.capacity = policy, lm, capacity
        self.at = torch.zeros(count, dtype=torch.long, device=device)
        self.layers: list[Any] = [_Layer(self) for _ in range(lm.config.get_text_config().num_hidden_layers)]
        self.upto = 0
        self.write: tuple[Tensor, Tensor] = (self.at, self.at)

    def read(self, tokens: Tensor, count: Tensor) -> Tensor:
        """Read tokens [b q], of which the first count[i] of each row are real; logits [b v] after the last real one."""
        b, q = tokens.shape
        slots = self.at[:, None] + torch.arange(q, device=tokens.device)
        self.write = (torch.arange(b, device=tokens.device)[:, None], slots)
        self.upto = int(slots.max()) + 1
        visible = torch.arange(self.upto, device=tokens.device) <= slots[:, None, :, None]  # [b 1 q upto]
        mask = torch.zeros(visible.shape, dtype=self.lm.dtype, device=tokens.device)
        mask.masked_fill_(~visible, torch.finfo(self.lm.dtype).min)
        logits = self.policy.next_logits(
            self.lm,
            (count - 1).clamp(min=0),
            input_ids=tokens,
            attention_mask=mask,
            position_ids=slots,
            past_key_values=Cache(layers=self.layers),
            use_cache=True,
        )
        self.at = self.at + count
        return logits

    def pick(self, rows: Tensor, capacity: int) -> _Rows:
        """A new batch of these rows (a row may be named more than once), with room for ``capacity`` tokens each."""
        new = _Rows(self.policy, self.lm, 0, capacity, rows.device)
        new.at = self.at[rows]
        used = int(new.at.max())
        for mine, theirs in zip(self.layers, new.layers, strict=True):
            for name in ("keys", "values"):
                source = getattr(mine, name)
                b, heads, dim = len(rows), source.shape[1], source.shape[3]
                buffer = source.new_zeros(b, heads, capacity, dim)
                buffer[:, :, :used] = source[rows, :, :used]
                setattr(theirs, name, buffer)
            theirs.is_initialized = True
        return new

    def restore(self, home: _Rows, mine: Tensor, theirs: Tensor) -> None:
        """Write rows ``mine`` of this batch back into rows ``theirs`` of ``home``."""
        home.at[theirs] = self.at[mine]
        used = int(self.at.max())
        for source, target in zip(self.layers, home.layers, strict=True):
            assert source.keys is not None and target.keys is not None
            assert source.values is not None and target.values is not None
            target.keys[theirs, :, :used] = source.keys[mine, :, :used]
            target.values[theirs, :, :used] = source.values[mine, :, :used]


@dataclass(frozen=True)
class _Memory:
    """What the last call left: the tokens of each row that are in the cache, and the cache."""

    known: list[Tokens]
    rows: _Rows


class Local:
    """Samples from ``policy`` (from its reference, with ``frozen``: base-model first attempts come from there)."""

    def __init__(self, policy: Policy, *, batch: Count, compact: Fraction) -> None:
        self._policy, self.batch, self._compact = policy, batch, compact
        self._lm = policy.lm
        self._memory: _Memory | None = None

    def frozen(self) -> Local:
        """The same engine over the frozen reference."""
        twin = Local(self._policy, batch=self.batch, compact=self._compact)
        twin._lm = self._policy.reference_lm
        return twin

    def sync(self) -> None:
        """Forget the cache: it was computed under weights that have changed."""
        self._memory = None

    @torch.no_grad()
    def sample(self, prompts: Sequence[Tokens], how: Sampling, seeds: Sequence[Seed]) -> list[Completion]:
        """One completion a prompt; see ``Engine``."""
        replies: list[Completion] = []
        for start in range(0, len(prompts), self.batch):
            cut = slice(start, start + self.batch)
            replies += self._sample(list(prompts[cut]), how, seeds[cut])
        return replies

    def _sample(self, prompts: list[Tokens], how: Sampling, seeds: Sequence[Seed]) -> list[Completion]:
        device = self._policy.device
        uniforms = torch.from_numpy(streams(seeds, how.max_tokens)).to(device) if how.temperature > 0 else None
        with self._policy.autocast():
            home, logits = self._start(prompts, max(map(len, prompts)) + how.max_tokens)
            tokens, logp = self._decode(home, logits, how, uniforms)
        replies, lengths = [], (tokens >= 0).sum(dim=1).tolist()
        for i, (ids, lps) in enumerate(zip(tokens.tolist(), logp.tolist(), strict=True)):
            drawn = tuple(ids[: lengths[i]])
            stop: Stop = "end" if drawn[-1] in self._policy.ends else "length"
            replies.append(Completion(drawn, tuple(lps[: lengths[i]]), self._policy.decode(drawn), stop))
        known = [prompt + reply.tokens[:-1] for prompt, reply in zip(prompts, replies, strict=True)]
        self._memory = _Memory(known, home)
        return replies

    def _start(self, prompts: list[Tokens], capacity: int) -> tuple[_Rows, Tensor]:
        """The prompts in the cache, and the logits after them. Goes on from the last call where these extend it."""
        memory, self._memory = self._memory, None
        if (
            memory
            and len(memory.known) == len(prompts)
            and all(prompt[: len(seen)] == seen for prompt, seen in zip(prompts, memory.known, strict=True))
        ):
            everyone = torch.arange(len(prompts), device=memory.rows.at.device)
            new = [prompt[len(seen) :] for prompt, seen in zip(prompts, memory.known, strict=True)]
            padding = max(map(len, new)) - min(map(len, new))
            rows = memory.rows.pick(everyone, capacity + padding)
            return rows, rows.read(*self._rectangle(new))
        distinct = list(dict.fromkeys(prompts))
        which = {prompt: i for i, prompt in enumerate(distinct)}
        shared = _Rows(self._policy, self._lm, len(distinct), max(map(len, distinct)), self._policy.device)
        logits = shared.read(*self._rectangle(distinct))
        rows_of = torch.tensor([which[prompt] for prompt in prompts], device=logits.device)
        return shared.pick(rows_of, capacity), logits[rows_of]

    def _rectangle(self, rows: list[Tokens]) -> tuple[Tensor, Tensor]:
        """Ragged token rows as [b q], padded on the right, and their lengths."""
        counts = [len(row) for row in rows]
        rectangle = np.zeros((len(rows), max(counts)), dtype=np.int64)
        for i, row in enumerate(rows):
            rectangle[i, : counts[i]] = row
        device = self._policy.device
        return torch.from_numpy(rectangle).to(device), torch.tensor(counts, device=device)

    def _decode(self, home: _Rows, logits: Tensor, how: Sampling, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
        """Draw until every row has ended or has ``max_tokens``; tokens [b max_tokens] (-1 after the end), and logp."""
        device, count = logits.device, len(logits)
        tokens = torch.full((count, how.max_tokens), -1, dtype=torch.long, device=device)
        logp = torch.zeros(count, how.max_tokens, device=device)
        ends = torch.tensor(self._policy.ends, device=device)
        active = torch.arange(count, device=device)  # which row of ``home`` each row of the working batch is
        work, done = home, torch.zeros(count, dtype=torch.bool, device=device)
        last = torch.zeros(count, dtype=torch.long, device=device)
        for step in range(how.max_tokens):
            u = None if uniforms is None else uniforms[active, step]
            token, lp = draw(logits, how.temperature, u)
            last = torch.where(done, last, token)
            tokens[active, step] = torch.where(done, -1, token)
            logp[active, step] = torch.where(done, 0.0, lp)
            done = done | torch.isin(token, ends)
            if step == how.max_tokens - 1 or bool(done.all()):
                break
            if float(done.float().mean()) > self._compact:
                if work is not home:
                    ended = done.nonzero()[:, 0]
                    work.restore(home, ended, active[ended])
                keep = (~done).nonzero()[:, 0]
                work = work.pick(keep, work.capacity)
                active, done, last = active[keep], done[keep], last[keep]
            # An ended row still in the batch reads its end token into the same slot again, and moves no further.
            logits = work.read(last[:, None], (~done).long())
        if work is not home:
            everyone = torch.arange(len(active), device=device)
            work.restore(home, everyone, active)
        return tokens, logp


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
