"""torch's attention and, for speed alone, three cases of its own: one new token a row, short rows, shared tokens.

torch's fused kernel is built for long rows and many queries and, where heads share keys (grouped-query attention),
reads the shared keys once a head. On a processor plain matrix products are faster for the one query of each row that
decoding asks (half the time), and for rows of up to ``SHORT`` tokens, with their gradients (40 % less at 40 tokens, as
much at 80, more beyond); the heads that share keys stand in them as the rows of one matrix, so each key is read once.
Everything else (longer rows, an accelerator, a model that wants more than a mask) is handed to transformers' own.

The nodes of a prefix tree (``amend.policy.prefixes``) come as one row, with their layout in the place of a mask; for
the while of the attention they are laid side by side as the conversations they are.

    out = softmax(q K' / sqrt(d) + mask) V                                            Vaswani et al. 2017
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from amend.policy.prefix_tree import gather_conversations, scatter_back

NAME = "amend"
SHORT = 64  # tokens
WANTED = ("softcap", "s_aux", "position_bias", "cache")  # by models that want more than a mask


def caps_scores(config: Any) -> bool:
    """Whether the model's attention bends its scores back (Gemma 2), which not every implementation does."""
    return getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None


def sees_all(config: Any) -> bool:
    """Whether every layer attends to all that came before: no window, no recurrence."""
    text = config.get_text_config()
    layers = getattr(text, "layer_types", None)
    if layers is not None:
        return set(layers) == {"full_attention"}
    return getattr(text, "sliding_window", None) is None


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """query [b heads q d], key [b shared t d], value [b shared t e], mask [b 1 q t] of numbers to add, or of what is
    visible, or None for all that came before; [b q heads e], as transformers'.

    Of a prefix tree: query [1 heads n d], key and value [1 shared n d], ``Tree.layout`` [1 2 b t]; [1 n heads d].
    """
    if attention_mask is not None and attention_mask.dtype == torch.long:
        node, place = attention_mask[0, 0], attention_mask[0, 1].flatten()[: query.shape[2]]
        query, key, value = (gather_conversations(states, node) for states in (query, key, value))
        found, _ = attention(module, query, key, value, None, scaling=scaling, **more)
        return scatter_back(found, place), None
    q, t = query.shape[2], key.shape[2]
    special = any(more.get(name) is not None for name in WANTED) or more.get("dropout")
    known = attention_mask is not None or (q == t and more.get("is_causal", getattr(module, "is_causal", True)))
    whole = query.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")  # else the fused kernel rounds less
    if special or not known or query.device.type != "cpu" or (q > 1 and not (whole and t <= SHORT)):
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **more)
    if attention_mask is None:
        attention_mask = query.new_ones(t, t, dtype=torch.bool).tril()[None, None]
    if attention_mask.dtype == torch.bool:
        attention_mask = query.new_zeros(attention_mask.shape).masked_fill(
            ~attention_mask, torch.finfo(query.dtype).min
        )
    return plain(query, key, value, attention_mask, query.shape[3] ** -0.5 if scaling is None else scaling), None


def plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float) -> Tensor:
    """The formula as it stands; the heads that share keys are the rows of one matrix. [b q heads e]."""
    b, heads, q, d = query.shape
    shared, t = key.shape[1:3]
    scores = query.reshape(b, shared, -1, d) @ key.transpose(2, 3) * scaling
    weights = (scores.view(b, shared, -1, q, t) + mask[:, :, None]).softmax(dim=-1)
    found = weights.view(b, shared, -1, t) @ value  # whose width need not be that of the keys
    return found.view(b, heads, q, -1).transpose(1, 2).contiguous()


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
