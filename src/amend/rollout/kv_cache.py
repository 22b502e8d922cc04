"""The key-value cache of the local engine: rows that are compacted when their replies have ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin

from amend.errors import UserError
from amend.policy.policy import Policy
from amend.types import Tokens


class Layer(CacheLayerMixin):
    """One layer's keys and values, [b heads capacity dim]; every row's next token goes to the same column."""

    is_sliding = False

    def __init__(self, shared: Rows) -> None:
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


class Rows:
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
        self.layers: list[Any] = [Layer(self) for _ in range(lm.config.get_text_config().num_hidden_layers)]
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

    def take(self, source: Rows, rows: Tensor) -> None:
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
class KVCache:
    """What the last call left: the tokens of each of its prompts that are in the cache, the cache, and which prompt
    each of its rows belongs to."""

    known: list[Tokens]
    rows: Rows
    who: Tensor


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
