"""Probes of a loaded model: which shortcuts compute what its own forward pass computes.

Each probe runs the model on a few tokens and compares. Nothing is decided by a model's name.
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
from amend.policy.prefix_tree import PrefixTree, tree_for_sampled

PROBE_LOGIT = 50.0  # a logit this large makes any soft cap visible
TOLERANCE = 1e-3  # relative to PROBE_LOGIT: how far a shortcut may be from the model's own result
BFLOAT16_TOLERANCE = 3e-2  # the same in bfloat16, which keeps eight bits
STRICT = "AMEND_STRICT_PROBES"  # set: an exception in a probe is raised

log = logging.getLogger(__name__)


def head_is_linear(lm: PreTrainedModel) -> bool:
    """Return whether the logits are the output embedding times the hidden states, and nothing else.

    Gemma 2 caps its logits, Cohere scales them. The probe scales the hidden states until the logits are large, because
    a cap barely changes small ones.
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
            gap = head(scaled) - lm(input_ids=probe, use_cache=False).logits
        finally:
            hook.remove()
    return float(gap.abs().max()) < TOLERANCE * PROBE_LOGIT


def supports_prefix_trees(
    lm: PreTrainedModel, read: Callable[[PreTrainedModel, Tensor, Tensor, PrefixTree | None], Tensor], bfloat16: bool
) -> bool:
    """Return whether the model computes shared prefixes once and still gives the states of separate conversations.

    Args:
        lm: the model.
        read: returns the states that predict the sampled tokens, with a prefix tree or with None for row by row.
        bfloat16: whether ``read`` computes in bfloat16, which allows a larger difference.
    """
    if lm.config._attn_implementation != kernels.NAME or not kernels.sees_all(lm.config):
        return False
    probe = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]], device=lm.device)
    predicted = torch.tensor([[False, True, True, True]] * 3, device=lm.device)
    with torch.no_grad():
        separate = read(lm, probe, predicted, None).float()
        try:
            shared = read(lm, probe, predicted, tree_for_sampled(probe, predicted)).float()
        except Exception as error:  # fallback: a model that cannot take a layout as its mask is read row by row
            if os.environ.get(STRICT):
                raise
            log.warning(
                "%s cannot share prefixes (%s): it is read row by row, which is slower", type(lm).__name__, error
            )
            return False
    allowed = BFLOAT16_TOLERANCE if bfloat16 else TOLERANCE
    return bool((separate - shared).abs().mean() <= allowed * separate.abs().mean())
