"""The key-value cache of the engine ``local``, whose rows can be reordered and removed."""

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
    """The keys and values of one layer, [b heads capacity dim].

    The next token of every row is written to the same column.
    """

    is_sliding = False

    def __init__(self, shared: Rows) -> None:
        super().__init__()
        self._shared = shared

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate the buffers for keys and values."""
        size = (self._shared.count, key_states.shape[1], self._shared.capacity)
        self.keys = key_states.new_zeros(*size, key_states.shape[-1])  # zeros, because masked values must be finite
        self.values = value_states.new_zeros(*size, value_states.shape[-1])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the new keys and values to the last columns, and return the keys and values of all columns."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        b, q = len(key_states), key_states.shape[2]
        width = self._shared.width
        self.keys[:b, :, width - q : width] = key_states
        self.values[:b, :, width - q : width] = value_states
        return self.keys[:b, :, :width], self.values[:b, :, :width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of columns of the attention mask, and the offset 0."""
        return self._shared.width, 0

    def get_seq_length(self) -> int:
        """Return 0, because rows differ in length; positions and masks are always passed explicitly."""
        return 0

    def get_max_length(self) -> int:
        """Return the number of columns of the buffers."""
        return self._shared.capacity


class Rows:
    """The rows of a batch with their cache, and the forward pass that appends tokens to the cache.

    Column c of the cache belongs to the c-th token that was appended to *any* row. Unfinished rows come first.

    Args:
        policy: The policy, which computes the logits.
        lm: The policy's model or its reference model.
        count: The number of rows.
        capacity: The number of columns.
        device: The device of the cache.

    Attributes:
        width: The number of used columns.
        position: The number of tokens of each row, [b].
        valid: Whether a column holds a token of the row, [b capacity].
        place: The position of a column's token in its row, [b capacity].
        layers: The cache of each layer.
    """

    def __init__(self, policy: Policy, lm: PreTrainedModel, count: int, capacity: int, device: torch.device) -> None:
        self.policy, self.lm, self.count, self.capacity = policy, lm, count, capacity
        self.width = 0
        self.position = torch.zeros(count, dtype=torch.long, device=device)
        self.valid = torch.zeros(count, capacity, dtype=torch.bool, device=device)
        self.place = torch.zeros(count, capacity, dtype=torch.long, device=device)
        self.layers: list[Any] = [Layer(self) for _ in range(lm.config.get_text_config().num_hidden_layers)]
        self._window, self._has_kinds = windowed(lm)
        self._dtype = lm.dtype  # attention scores have this type, so masks need it as well

    def read(self, tokens: Tensor, count: Tensor) -> Tensor:
        """Append tokens to the first m rows, and return the logits [m v] after them.

        Args:
            tokens: The tokens [m q], padded on the right.
            count: The number of tokens of each row without padding, [m].
        """
        m, q = tokens.shape
        step = torch.arange(q, device=tokens.device)
        start, self.width = self.width, self.width + q
        self.valid[:m, start : self.width] = step < count[:, None]
        # Padding repeats the last position, so that no position exceeds the context length of the model.
        position = self.position[:m, None] + torch.minimum(step, (count[:, None] - 1).clamp(min=0))
        self.place[:m, start : self.width] = position
        visible = self.valid[:m, None, None, : self.width].expand(m, 1, q, self.width)
        if q > 1:
            visible = visible & (torch.arange(self.width, device=tokens.device) <= (start + step)[:, None])
        last = (count - 1).clamp(min=0)
        logits = self.policy.next_logits(
            self.lm,
            last,
            input_ids=tokens,
            attention_mask=self._masks(visible, position),
            position_ids=position,
            past_key_values=Cache(layers=self.layers),
            use_cache=True,
        )
        self.position[:m] += count
        return logits

    def _masks(self, visible: Tensor, position: Tensor) -> Tensor | dict[str, Tensor]:
        """Return the attention mask of the new tokens, [m 1 q width], as numbers to add to the attention scores.

        If the model declares the kinds of its layers, return one mask for each kind.
        """
        if self._window is None:
            return self._mask(visible)
        in_window = position[:, None, :, None] - self.place[: len(position), None, None, : self.width] < self._window
        sliding = self._mask(visible & in_window)
        return {"full_attention": self._mask(visible), "sliding_attention": sliding} if self._has_kinds else sliding

    def _mask(self, visible: Tensor) -> Tensor:
        mask = torch.zeros(visible.shape, dtype=self._dtype, device=visible.device)
        return mask.masked_fill_(~visible, torch.finfo(self._dtype).min)

    def holds(self, count: int, capacity: int) -> bool:
        """Return whether the allocated buffers have room for ``count`` rows of ``capacity`` columns."""
        return all(layer.is_initialized for layer in self.layers) and count <= self.count and capacity <= self.capacity

    def take(self, source: Rows, rows: Tensor) -> None:
        """Copy the given rows of ``source`` to this cache. A row may be given more than once.

        The buffers keep their old values in unused columns. These values are finite, and the mask hides them.
        """
        self.width, self.position = source.width, source.position[rows]
        self.valid = torch.zeros(len(rows), self.capacity, dtype=torch.bool, device=rows.device)
        self.valid[:, : self.width] = source.valid[rows, : self.width]
        self.place = torch.zeros(len(rows), self.capacity, dtype=torch.long, device=rows.device)
        self.place[:, : self.width] = source.place[rows, : self.width]
        for layer, source_layer in zip(self.layers, source.layers, strict=True):
            if not layer.is_initialized:
                layer.lazy_initialization(source_layer.keys, source_layer.values)
            layer.keys[: len(rows), :, : self.width] = source_layer.keys[rows, :, : self.width]
            layer.values[: len(rows), :, : self.width] = source_layer.values[rows, :, : self.width]

    def swap(self, one: Tensor, other: Tensor) -> None:
        """Swap the rows of two lists of equal length."""
        buffers = [states[:, :, : self.width] for layer in self.layers for states in (layer.keys, layer.values)]
        for rows in (self.position, self.valid, self.place, *buffers):
            copy = rows[one]
            rows[one] = rows[other]
            rows[other] = copy


@dataclass(frozen=True)
class KVCache:
    """The cache of the last call.

    Attributes:
        known: The tokens of each prompt that are in the cache.
        rows: The cache.
        who: The index of the prompt that each row belongs to.
    """

    known: list[Tokens]
    rows: Rows
    who: Tensor


def windowed(lm: PreTrainedModel) -> tuple[int | None, bool]:
    """Return the size of the model's sliding window (None: no window), and whether its layers have declared kinds.

    Raises:
        UserError: If a layer has a state other than keys and values.
    """
    config = lm.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    if unsupported := kinds - {"full_attention", "sliding_attention"}:
        raise UserError(
            f"rollout=local: {config.model_type} has layers of {', '.join(sorted(unsupported))}, whose state this "
            f"engine does not support; allowed: another rollout, or a model with attention layers only"
        )
    window = getattr(config, "sliding_window", None)
    if window is None or (kinds and "sliding_attention" not in kinds):
        return None, bool(kinds)
    return int(window), bool(kinds)
