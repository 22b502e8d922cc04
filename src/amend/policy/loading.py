"""Load a policy from a folder or a hub id, with the attention and the precision that fit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from amend.errors import UserError
from amend.policy import attention as kernels
from amend.policy import chat_templates
from amend.policy.policy import Policy
from amend.policy.tuning import Tuning
from amend.value_types import Count

BUILTIN = Path(__file__).parent / "tiny"


def load_policy(
    tuning: Tuning,
    *,
    path: str,
    dtype: Literal["float32", "bfloat16"],
    autocast: Literal["auto", "on", "off"],
    max_tokens_per_micro_batch: Count,
    attn_implementation: Literal["auto", "sdpa", "eager"],
    gradient_checkpointing: bool,
    chat_template: str,
    system_prompt: str | None,
    enable_thinking: bool | None,
) -> Policy:
    """The model at ``path``: ``builtin``, a folder, or a hub id. UserError says what to do when it is not there."""
    where = str(BUILTIN) if path == "builtin" else str(Path(path).expanduser())
    try:
        tokenizer = AutoTokenizer.from_pretrained(where)
        config = AutoConfig.from_pretrained(where)
        how = attention_for(config, attn_implementation)
        lm = AutoModelForCausalLM.from_pretrained(
            where, config=config, dtype=getattr(torch, dtype), attn_implementation=how
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"policy.path={path}: no model could be loaded from there ({reason}); allowed: builtin, a folder with "
            f"config.json and tokenizer files, or a hub id fetched before with `hf download {path}`"
        ) from error
    name = "builtin" if path == "builtin" else Path(path).name
    chat_templates.set_chat_template(tokenizer, chat_template, name)
    return Policy(
        lm,
        tokenizer,
        name,
        tuning,
        autocast=autocast_on(autocast),
        max_tokens_per_micro_batch=max_tokens_per_micro_batch,
        gradient_checkpointing=gradient_checkpointing,
        system_prompt=system_prompt or "",
        enable_thinking=enable_thinking,
    )


def attention_for(config: Any, choice: Literal["auto", "sdpa", "eager"]) -> str:
    """The attention a model is loaded with. ``auto``: torch's own kernels (FlashAttention among them, on a GPU), and
    plain arithmetic for models that cap attention scores, which those kernels would silently leave uncapped."""
    capped = kernels.caps_scores(config)
    if capped and choice == "sdpa":
        raise UserError(
            f"policy.attn_implementation=sdpa: {config.model_type} caps its attention scores, which sdpa does not do; "
            f"allowed: auto, eager"
        )
    return choice if choice != "auto" else "eager" if capped else "sdpa"


def autocast_on(choice: Literal["auto", "on", "off"]) -> bool:
    """Whether to run forward passes in bfloat16. ``auto``: on CUDA, and on processors with AMX tiles.

    AVX512-BF16 alone is not enough: the built-in model's rounds are slower in it than in float32, on an Intel Xeon and
    on an AMD EPYC (tests/benchmark: 1.04 s for 0.89 on the latter).
    """
    if choice == "auto":
        return torch.cuda.is_available() or torch.cpu._is_amx_tile_supported()
    return choice == "on"
