"""About how many bytes a run will need at its largest, part by part, before it has needed them.

    weights       the model, its frozen copy where there is one; of what is trained a gradient and Adam's two moments
                  (and what DDP sends gradients in); under FSDP, a process's part of all that
    activations   of one micro-batch: 17 numbers of the model's width a token and layer (2 where layers are computed
                  again), the attention scores where they are written out, and chunks of logits
    cache         the sampler's: keys and values of every row at the length of the longest conversation

The factor 17 is that of Korthikanti et al. 2022 (arXiv 2205.05198, 34 bytes in 16 bits) without the attention scores.
An estimate: what matters is whether it is far from what there is.
"""

from __future__ import annotations

from pathlib import Path

import torch

from amend import ranks
from amend.ops.likelihood import CHUNK
from amend.policy.model import Policy


def footprint(policy: Policy, rows: int, longest: int) -> dict[str, int]:
    """Bytes of each part, with ``rows`` conversations sampled at once and ``longest`` tokens in the longest."""
    lm, config = policy.lm, policy.lm.config.get_text_config()
    stored = torch.finfo(lm.dtype).bits // 8
    computed = 2 if policy.in_bfloat16 else stored
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    micro = max(policy.micro_tokens, longest)
    a_token = config.hidden_size * (2 if policy.checkpoints else 17)
    if lm.config._attn_implementation == "eager":
        a_token += 2 * heads * longest
    trained = sum(w.numel() * w.element_size() for w in lm.parameters() if w.requires_grad)
    beside = 3 / ranks.size() if policy.divided else 3 + (ranks.size() > 1)
    return {
        "weights": held(policy) + int(beside * trained),
        "activations": micro * a_token * config.num_hidden_layers * computed + 6 * 4 * CHUNK,
        "cache": rows * longest * 2 * config.num_hidden_layers * shared * head * stored,
    }


def held(policy: Policy) -> int:
    """Bytes of the weights that are in memory already: the model's, and its copy's, or this process's part of them."""
    whole = sum(w.numel() * w.element_size() for w in policy.lm.parameters()) * (1 if policy.adapter else 2)
    return whole // ranks.size() if policy.divided else whole


def available(device: torch.device) -> int:
    """Free bytes on the device that is trained on; where a system does not tell, more than anything needs."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    told = Path("/proc/meminfo")
    lines = told.read_text(encoding="ascii").splitlines() if told.is_file() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else 2**63
