"""Probe a loaded model: find the shortcuts that give the same result as the model's own forward pass.

Each probe runs the model on a few tokens and compares the two results. No probe depends on the name of a model.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from amend.policy import attention as kernels
from amend.policy.prefix_tree import PrefixTree, build_tree_for_sampled

PROBE_LOGIT = 50.0  # large enough that every soft cap changes the logit visibly
TOLERANCE = 1e-3  # largest relative difference between the result of a shortcut and the model's own result
BFLOAT16_TOLERANCE = 3e-2  # the same in bfloat16, which has a precision of eight bits
STRICT = "AMEND_STRICT_PROBES"  # environment variable; if it is set, exceptions in a probe are raised

log = logging.getLogger(__name__)


def head_is_linear(lm: PreTrainedModel) -> bool:
    """Return whether the logits are exactly the product of the output embedding and the hidden states.

    Gemma 2 caps its logits, and Cohere scales them. The probe scales the hidden states until the logits are large,
    because a cap barely changes small logits.
    """
    probe = torch.tensor([[1, 0, 1]], device=lm.device)
    head = lm.get_output_embeddings()
    with torch.no_grad():
        hidden = lm.base_model(input_ids=probe, use_cache=False).last_hidden_state
        scaled = hidden * (PROBE_LOGIT / head(hidden).abs().max().clamp(min=1e-6))

        def replace_hidden(module: nn.Module, inputs: Any, out: Any) -> Any:
            out.last_hidden_state = scaled
            return out

        hook = lm.base_model.register_forward_hook(replace_hidden)
        try:
            difference = head(scaled) - lm(input_ids=probe, use_cache=False).logits
        finally:
            hook.remove()
    return float(difference.abs().max()) < TOLERANCE * PROBE_LOGIT


def supports_prefix_trees(
    lm: PreTrainedModel, read: Callable[[PreTrainedModel, Tensor, Tensor, PrefixTree | None], Tensor], bfloat16: bool
) -> bool:
    """Return whether the model gives the same states with a prefix tree as with one row per conversation.

    Args:
        lm: The model.
        read: A function that returns the states that predict the sampled tokens. Its last argument is a prefix tree, or
            None for one row per conversation.
        bfloat16: Whether ``read`` computes in bfloat16, which allows a larger difference.
    """
    if lm.config._attn_implementation != kernels.NAME or not kernels.has_full_attention(lm.config):
        return False
    probe = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]], device=lm.device)
    predicted = torch.tensor([[False, True, True, True]] * 3, device=lm.device)
    with torch.no_grad():
        separate = read(lm, probe, predicted, None).float()
        try:
            shared = read(lm, probe, predicted, build_tree_for_sampled(probe, predicted)).float()
        except Exception as error:  # fallback: one row per conversation, if the model rejects a layout as mask
            if os.environ.get(STRICT):
                raise
            log.warning(
                "%s does not support prefix trees (%s): each conversation is computed separately, which is slower",
                type(lm).__name__,
                error,
            )
            return False
    allowed = BFLOAT16_TOLERANCE if bfloat16 else TOLERANCE
    return bool((separate - shared).abs().mean() <= allowed * separate.abs().mean())
