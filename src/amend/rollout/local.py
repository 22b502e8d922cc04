"""The engine that needs nothing: samples from the very weights that are trained, in this process.

What makes it faster than ``generate`` (``make benchmark`` measures it):

    one prefill a problem     equal prompts are read once, and their keys and values shared out to all samples
    turn 2 from turn 1        the cache is kept between calls; a prompt that extends a known row reads only the new part
    no copying                keys and values live in buffers that are kept between calls; a step writes one column
    compaction                rows that have ended change places with the last that have not, and are read no further

Each row draws from its own stream of uniforms, a function of its seed alone, by inverting its own distribution. So for
a given seed a row's tokens are the same whatever else is in the batch, wherever the arithmetic allows it: a matrix
product may round differently for another number of rows, and attention beside a longer row (``policy.attention``), each
by about 1e-6; then a draw that falls within that distance of a boundary between two tokens may fall to the other side.
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
from amend.errors import UserError
from amend.policy.model import Policy
from amend.rollout.engine import Seed
from amend.types import Completion, Sampling, Stop, Tokens


class _Layer(CacheLayerMixin):
    """One layer's keys and values, [b heads capacity dim]; every row's next token goes to the same column."""

    is_sliding = False

    def __init__(self, shared: _Rows) -> None:
        super().__init__()
        self._shared = shared

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        size = (self._shared.count, key_states.shape[1], self._shared.capacity)
        self.keys = key_states.new_zeros(*size, key_states.shape[-1])  # zeros: what is masked must still be finite
        self.values = value_states.new_zeros(*size, value_states.shape[-1])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        b, q = len(key_states), key_states.shape[2]
        upto = self._shared.width
        self.keys[:b, :, upto - q : upto] = key_states
        self.values[:b, :, upto - q : upto] = value_states
        return self.keys[:b, :, :upto], self.values[:b, :, :upto]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._shared.width, 0

    def get_seq_length(self) -> int:
        return 0  # rows differ in length; positions and masks are always given

    def get_max_length(self) -> int:
        return self._shared.capacity


class _Rows:
    """Rows of a batch and their cache, and the forward pass that reads more tokens into it.

    Column c of the cache belongs to the c-th token that was read into *any* row; ``valid`` says for which rows it was a
    token, ``place`` its position in the row, ``position`` how many each row has. The rows that are still being read
    stand first.
    """

    def __init__(self, policy: Policy, lm: PreTrainedModel, count: int, capacity: int, device: torch.device) -> None:
        self.policy, self.lm, self.count, self.capacity = policy, lm, count, capacity
        self.width = 0
        self.position = torch.zeros(count, dtype=torch.long, device=device)
        self.valid = torch.zeros(count, capacity, dtype=torch.bool, device=device)
        self.place = torch.zeros(count, capacity, dtype=torch.long, device=device)
        self.layers: list[Any] = [_Layer(self) for _ in range(lm.config.get_text_config().num_hidden_layers)]
        self._window, self._kinds = windowed(lm)
        self._dtype = lm.dtype  # of numbers that are added to scores

    def read(self, tokens: Tensor, count: Tensor) -> Tensor:
        """Read tokens [m q] into the first m rows, the first count[i] of each being real; logits [m v] after them."""
        m, q = tokens.shape
        step = torch.arange(q, device=tokens.device)
        start, self.width = self.width, self.width + q
        self.valid[:m, start : self.width] = step < count[:, None]
        here = self.position[:m, None] + torch.minimum(step, (count[:, None] - 1).clamp(min=0))  # padding: in context
        self.place[:m, start : self.width] = here
        visible = self.valid[:m, None, None, : self.width].expand(m, 1, q, self.width)
        if q > 1:
            visible = visible & (torch.arange(self.width, device=tokens.device) <= (start + step)[:, None])
        last = (count - 1).clamp(min=0)
        logits = self.policy.next_logits(
            self.lm,
            last,
            input_ids=tokens,
            attention_mask=self._masks(visible, here),
            position_ids=here,
            past_key_values=Cache(layers=self.layers),
            use_cache=True,
        )
        self.position[:m] += count
        return logits

    def _masks(self, visible: Tensor, here: Tensor) -> Tensor | dict[str, Tensor]:
        """What each new token sees, [m 1 q width], as numbers to add to scores; one a kind of layer, where some layers
        look back a window only."""
        if self._window is None:
            return self._mask(visible)
        near = here[:, None, :, None] - self.place[: len(here), None, None, : self.width] < self._window
        sliding = self._mask(visible & near)
        return {"full_attention": self._mask(visible), "sliding_attention": sliding} if self._kinds else sliding

    def _mask(self, visible: Tensor) -> Tensor:
        mask = torch.zeros(visible.shape, dtype=self._dtype, device=visible.device)
        return mask.masked_fill_(~visible, torch.finfo(self._dtype).min)

    def holds(self, count: int, capacity: int) -> bool:
        """Whether its buffers have room for ``count`` rows of ``capacity`` columns."""
        return all(layer.is_initialized for layer in self.layers) and count <= self.count and capacity <= self.capacity

    def take(self, source: _Rows, rows: Tensor) -> None:
        """Become these rows of ``source`` (a row may be named more than once). What buffers held before stays in them,
        masked: it is finite, and no one looks."""
        self.width, self.position = source.width, source.position[rows]
        self.valid = torch.zeros(len(rows), self.capacity, dtype=torch.bool, device=rows.device)
        self.valid[:, : self.width] = source.valid[rows, : self.width]
        self.place = torch.zeros(len(rows), self.capacity, dtype=torch.long, device=rows.device)
        self.place[:, : self.width] = source.place[rows, : self.width]
        for mine, theirs in zip(self.layers, source.layers, strict=True):
            if not mine.is_initialized:
                mine.lazy_initialization(theirs.keys, theirs.values)
            mine.keys[: len(rows), :, : self.width] = theirs.keys[rows, :, : self.width]
            mine.values[: len(rows), :, : self.width] = theirs.values[rows, :, : self.width]

    def swap(self, one: Tensor, other: Tensor) -> None:
        """Rows ``one`` and rows ``other`` change places."""
        buffers = [states[:, :, : self.width] for layer in self.layers for states in (layer.keys, layer.values)]
        for rows in (self.position, self.valid, self.place, *buffers):
            kept = rows[one]
            rows[one] = rows[other]
            rows[other] = kept


@dataclass(frozen=True)
class _Memory:
    """What the last call left: the tokens of each of its prompts that are in the cache, the cache, and which prompt
    each of its rows belongs to."""

    known: list[Tokens]
    rows: _Rows
    who: Tensor


class Local:
    """Samples from ``policy`` (from its reference, with ``frozen``: base-model first attempts come from there).

    ``batch`` rows are sampled at once; once a share ``compact`` of those being read have ended, they are left out.
    """

    importance_cap: float | None = None  # it computes what the trainer computes

    def __init__(self, policy: Policy, *, batch: Count, compact: Fraction) -> None:
        self._policy, self.batch, self._compact = policy, batch, compact
        self._of_reference = False
        self._memory: _Memory | None = None
        self._spare: _Rows | None = None  # buffers, kept: to allocate them anew would cost as much as a layer

    def frozen(self) -> Local:
        """The same engine over the frozen reference."""
        twin = Local(self._policy, batch=self.batch, compact=self._compact)
        twin._of_reference = True
        return twin

    def sync(self) -> None:
        """Forget the cache: it was computed under weights that have changed."""
        self._memory = None

    def sample(self, prompts: Sequence[Tokens], how: Sampling, seeds: Sequence[Seed]) -> list[Completion]:
        """One completion a prompt; see ``Engine``."""
        replies: list[Completion] = []
        for start in range(0, len(prompts), self.batch):
            cut = slice(start, start + self.batch)
            with self._policy.sampling():
                replies += self._sample(list(prompts[cut]), how, seeds[cut])
        return replies

    def _sample(self, prompts: list[Tokens], how: Sampling, seeds: Sequence[Seed]) -> list[Completion]:
        device = self._policy.device
        uniforms = torch.from_numpy(streams(seeds, how.max_tokens)).to(device) if how.temperature > 0 else None
        with self._policy.autocast(), self._policy.reading(self._of_reference) as lm:
            rows, who, logits = self._start(lm, prompts, how.max_tokens)
            ends = torch.tensor([*self._policy.ends, *sorted(how.pause)], device=device)
            tokens, logp, who = self._decode(rows, who, logits, how, uniforms, ends)
        replies, lengths = [], (tokens >= 0).sum(dim=1).tolist()
        for i, (ids, lps) in enumerate(zip(tokens.tolist(), logp.tolist(), strict=True)):
            drawn = tuple(ids[: lengths[i]])
            stop: Stop = "end" if drawn[-1] in self._policy.ends else "pause" if drawn[-1] in how.pause else "length"
            replies.append(Completion(drawn, tuple(lps[: lengths[i]]), self._policy.decode(drawn), stop))
        known = [prompt + reply.tokens[:-1] for prompt, reply in zip(prompts, replies, strict=True)]
        self._memory = _Memory(known, rows, who)
        return replies

    def _start(self, lm: PreTrainedModel, prompts: list[Tokens], room: int) -> tuple[_Rows, Tensor, Tensor]:
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
        shared = _Rows(self._policy, lm, len(distinct), max(map(len, distinct)), self._policy.device)
        logits = shared.read(*self._rectangle(distinct))
        rows_of = torch.tensor([which[prompt] for prompt in prompts], device=logits.device)
        who = torch.arange(len(prompts), device=logits.device)
        rows = self._buffers(lm, len(prompts), shared.width + room)
        rows.take(shared, rows_of)
        return rows, who, logits[rows_of]

    def _buffers(self, lm: PreTrainedModel, count: int, capacity: int) -> _Rows:
        """The last call's buffers where they are large enough, else new ones as large as any call has needed."""
        if self._spare is None or not self._spare.holds(count, capacity):
            largest = (self._spare.count, self._spare.capacity) if self._spare else (0, 0)
            count, capacity = max(count, largest[0]), max(capacity, largest[1])
            self._spare = _Rows(self._policy, lm, count, capacity, self._policy.device)
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
        self, rows: _Rows, who: Tensor, logits: Tensor, how: Sampling, uniforms: Tensor | None, ends: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw until every row has ended or has ``max_tokens``: tokens [b max_tokens] (-1 after the end) and logp in
        the order of the prompts, and which prompt each row of the cache is by now."""
        device, count = logits.device, len(logits)
        tokens = torch.full((count, how.max_tokens), -1, dtype=torch.long, device=device)
        logp = torch.zeros(count, how.max_tokens, device=device)
        ended = torch.zeros(count, dtype=torch.bool, device=device)  # of the rows being read, which stand first
        for step in range(how.max_tokens):
            m = len(ended)
            now = who[:m]
            token, lp = draw(logits, how.temperature, None if uniforms is None else uniforms[now, step])
            tokens[now, step] = torch.where(ended, -1, token)
            logp[now, step] = torch.where(ended, 0.0, lp)
            ended = ended | torch.isin(token, ends)
            alive = m - int(ended.sum())
            if step == how.max_tokens - 1 or not self._policy.anyone(alive > 0):
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


def windowed(lm: PreTrainedModel) -> tuple[int | None, bool]:
    """How far back a model's windowed layers look (None: it has none), and whether other layers look at everything.
    UserError for layers that keep something other than keys and values."""
    config = lm.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    if other := kinds - {"full_attention", "sliding_attention"}:
        raise UserError(
            f"rollout=local: {config.model_type} has layers of {', '.join(sorted(other))}, whose state this engine "
            f"does not keep; allowed: another rollout, or a model of plain attention"
        )
    window = getattr(config, "sliding_window", None)
    if window is None or (kinds and "sliding_attention" not in kinds):
        return None, bool(kinds)
    return int(window), bool(kinds)


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
