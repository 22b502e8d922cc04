"""Compute attention, faster than transformers in three cases: one new token per row, short rows, and prefix trees.

All cases compute the attention of Vaswani et al. 2017:

    out = softmax(q K' / sqrt(d) + mask) V

The fused kernel of torch is built for long rows with many queries. With grouped-query attention it reads a shared key
once per query head. On a CPU, matrix products are faster for one query per row, as in decoding, and for rows of up to
``SHORT`` tokens. They put the heads that share keys into one matrix, so each key is read once. All other inputs go to
the function of transformers: longer rows, other devices, and models that need more than a mask.

A prefix tree (``amend.policy.prefix_tree``) is passed as a single row, and its layout is passed in the mask argument.
Inside the attention function the tree is expanded to one row per conversation, and collapsed again afterwards.

Importing this module registers the function with transformers under the name ``NAME``.
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
# Largest number of tokens of a short row. On a CPU, matrix products with their gradients take 40 % less time than the
# fused kernel at 40 tokens, equal time at 80 tokens, and more time for longer rows.
SHORT = 64
UNSUPPORTED_ARGUMENTS = ("softcap", "s_aux", "position_bias", "cache")  # arguments of models that need more than a mask


def caps_scores(config: Any) -> bool:
    """Return whether the model caps its attention scores, as Gemma 2 does; some implementations omit the cap."""
    return getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None


def has_full_attention(config: Any) -> bool:
    """Return whether every layer attends to all previous tokens, without a window and without recurrence."""
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
    """Return the attention output in the form that transformers expects.

    For a prefix tree of n nodes, the batch size is 1, both q and t are n, and ``attention_mask`` is the tensor
    [1 2 b t] of ``PrefixTree.layout``.

    Args:
        module: The attention layer.
        query: The queries [b heads q d].
        key: The keys [b shared t d], in which several heads can share a key.
        value: The values [b shared t e].
        attention_mask: Numbers [b 1 q t] that are added to the scores, or booleans that are True for visible tokens.
            None: each token attends to itself and all previous tokens.
        scaling: The factor of the scores; None: 1 / sqrt(d).
        **more: Further arguments of the model's attention function.

    Returns:
        The output [b q heads e], and None in place of attention weights.
    """
    if attention_mask is not None and attention_mask.dtype == torch.long:
        node, row_index = attention_mask[0, 0], attention_mask[0, 1].flatten()[: query.shape[2]]
        query, key, value = (gather_conversations(states, node) for states in (query, key, value))
        output, _ = attention(module, query, key, value, None, scaling=scaling, **more)
        return scatter_back(output, row_index), None
    q, t = query.shape[2], key.shape[2]
    needs_more = any(more.get(name) is not None for name in UNSUPPORTED_ARGUMENTS) or more.get("dropout")
    has_known_mask = attention_mask is not None or (
        q == t and more.get("is_causal", getattr(module, "is_causal", True))
    )
    # In lower precision the fused kernel has smaller rounding errors.
    is_float32 = query.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if needs_more or not has_known_mask or query.device.type != "cpu" or (q > 1 and not (is_float32 and t <= SHORT)):
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **more)
    if attention_mask is None:
        attention_mask = query.new_ones(t, t, dtype=torch.bool).tril()[None, None]
    if attention_mask.dtype == torch.bool:
        attention_mask = query.new_zeros(attention_mask.shape).masked_fill(
            ~attention_mask, torch.finfo(query.dtype).min
        )
    scaling = query.shape[3] ** -0.5 if scaling is None else scaling
    return matmul_attention(query, key, value, attention_mask, scaling), None


def matmul_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float) -> Tensor:
    """Compute attention by matrix products, with the heads that share keys as rows of one matrix.

    Args:
        query: The queries [b heads q d].
        key: The keys [b shared t d].
        value: The values [b shared t e]; e need not equal d.
        mask: Numbers [b 1 q t] or [1 1 q t] that are added to the scores.
        scaling: The factor of the scores.

    Returns:
        The output [b q heads e].
    """
    b, heads, q, d = query.shape
    shared, t = key.shape[1:3]
    scores = query.reshape(b, shared, -1, d) @ key.transpose(2, 3) * scaling
    weights = (scores.view(b, shared, -1, q, t) + mask[:, :, None]).softmax(dim=-1)
    output = weights.view(b, shared, -1, t) @ value
    return output.view(b, heads, q, -1).transpose(1, 2).contiguous()


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
