"""torch's attention and, for speed alone, two cases of its own: one new token a row, and rows that share tokens.

Decoding asks one query of each row's cache. torch's fused kernel is built for many queries and, where heads share keys
(grouped-query attention), reads the shared keys once a head. Here the heads that share keys stand side by side as the
rows of one small matrix product, so each key is read once, at about half the time. Everything else (many queries,
gradients, an accelerator, a model that wants more than a mask) is handed to transformers' own.

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

from amend.policy.prefixes import laid_out, taken_up

NAME = "amend"


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
    """query [b heads q d], key and value [b shared t d], additive mask [b 1 q t]; [b q heads d], as transformers'.

    Of a prefix tree: query [1 heads n d], key and value [1 shared n d], ``Tree.layout`` [1 2 b t]; [1 n heads d].
    """
    b, heads, q, d = query.shape
    if attention_mask is not None and attention_mask.dtype == torch.long:
        node, place = attention_mask[0, 0], attention_mask[0, 1].flatten()[:q]
        query, key, value = (laid_out(states, node) for states in (query, key, value))
        found, _ = sdpa_attention_forward(module, query, key, value, None, scaling=scaling, **more)
        return taken_up(found, place), None
    special = more.get("softcap") is not None or more.get("s_aux") is not None
    if q > 1 or attention_mask is None or special or torch.is_grad_enabled() or query.device.type != "cpu":
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **more)
    shared = key.shape[1]
    grouped = query.reshape(b, shared, heads // shared, d)
    scores = grouped @ key.transpose(2, 3) * (d**-0.5 if scaling is None else scaling) + attention_mask
    return (scores.softmax(dim=-1) @ value).view(b, 1, heads, d), None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
