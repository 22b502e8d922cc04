"""Load a policy from a folder or a hub id, and choose its attention implementation and precision."""

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
    """Load a model and its tokenizer, and return the policy.

    Args:
        tuning: The choice of trained weights.
        path: ``builtin``, a folder, or a hub id.
        dtype: The precision of the weights.
        autocast: Whether forward passes run in bfloat16; see ``use_autocast``.
        max_tokens_per_micro_batch: The maximum number of padded tokens of one forward pass.
        attn_implementation: The attention implementation; see ``choose_attention``.
        gradient_checkpointing: Whether the backward pass recomputes the activations of each layer.
        chat_template: ``own``, ``plain``, or the path of a Jinja file.
        system_prompt: The text of the system message; None: no system message.
        enable_thinking: The argument of this name of the chat template; None: the template's default.

    Raises:
        UserError: If the model cannot be loaded or does not support one of the options.
    """
    source = str(BUILTIN) if path == "builtin" else str(Path(path).expanduser())
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        config = AutoConfig.from_pretrained(source)
        implementation = choose_attention(config, attn_implementation)
        lm = AutoModelForCausalLM.from_pretrained(
            source, config=config, dtype=getattr(torch, dtype), attn_implementation=implementation
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"policy.path={path}: no model could be loaded from this path ({reason}); allowed: builtin, a folder with "
            f"config.json and tokenizer files, or a hub id that you have downloaded with `hf download {path}`"
        ) from error
    name = "builtin" if path == "builtin" else Path(path).name
    chat_templates.set_chat_template(tokenizer, chat_template, name)
    return Policy(
        lm,
        tokenizer,
        name,
        tuning,
        autocast=use_autocast(autocast),
        max_tokens_per_micro_batch=max_tokens_per_micro_batch,
        gradient_checkpointing=gradient_checkpointing,
        system_prompt=system_prompt or "",
        enable_thinking=enable_thinking,
    )


def choose_attention(config: Any, choice: Literal["auto", "sdpa", "eager"]) -> str:
    """Return the attention implementation for a model.

    ``auto`` selects ``sdpa``, the kernels of torch, which include FlashAttention on a GPU. For a model that caps its
    attention scores, ``auto`` selects ``eager``, because the kernels of torch would silently omit the cap.

    Args:
        config: The model's configuration.
        choice: The configured value.

    Raises:
        UserError: If ``choice`` is ``sdpa`` and the model caps its attention scores.
    """
    has_capped_scores = kernels.caps_scores(config)
    if has_capped_scores and choice == "sdpa":
        raise UserError(
            f"policy.attn_implementation=sdpa: {config.model_type} caps its attention scores, which sdpa does not "
            f"support; allowed: auto, eager"
        )
    return choice if choice != "auto" else "eager" if has_capped_scores else "sdpa"


def use_autocast(choice: Literal["auto", "on", "off"]) -> bool:
    """Return whether forward passes run in bfloat16.

    ``auto`` selects bfloat16 on CUDA and on processors with AMX tiles. AVX512-BF16 alone is not enough: iterations of
    the built-in model are then slower in bfloat16 than in float32 (measured by tests/benchmark on Intel Xeon and AMD
    EPYC).

    Args:
        choice: The configured value.
    """
    if choice == "auto":
        return torch.cuda.is_available() or torch.cpu._is_amx_tile_supported()
    return choice == "on"
