"""What is known of a run before its first round: what it is made of, and about what it will need.

A run that would not fit, or would take a week, should say so before it begins and not after: bytes and numbers from
the configuration, and time from the pace of the base model's evaluation. What an update takes is known once a round is
over; from then on the time left stands beside every round (``report.terminal``).
"""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig

from amend.components import Components, longest_conversation
from amend.config.schema import class_attribute
from amend.distributed import collectives
from amend.ops.logprobs import CHUNK
from amend.policy.policy import Policy
from amend.results.report.formatting import clock


def estimate_memory(policy: Policy, rows: int, longest: int) -> dict[str, int]:
    """Bytes of each part, with ``rows`` conversations sampled at once and ``longest`` tokens in the longest."""
    lm, config = policy.lm, policy.lm.config.get_text_config()
    stored = torch.finfo(lm.dtype).bits // 8
    computed = 2 if policy.in_bfloat16 else stored
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    micro = max(policy.max_tokens_per_micro_batch, longest)
    a_token = config.hidden_size * (2 if policy.checkpoints else 17)
    if lm.config._attn_implementation == "eager":
        a_token += 2 * heads * longest
    trained = sum(w.numel() * w.element_size() for w in lm.parameters() if w.requires_grad)
    beside = 3 / collectives.world_size() if policy.is_sharded else 3 + (collectives.world_size() > 1)
    return {
        "weights": current_memory(policy) + int(beside * trained),
        "activations": micro * a_token * config.num_hidden_layers * computed + 6 * 4 * CHUNK,
        "cache": rows * longest * 2 * config.num_hidden_layers * shared * head * stored,
    }


def current_memory(policy: Policy) -> int:
    """Bytes of the weights that are in memory already: the model's, and its copy's, or this process's part of them."""
    whole = sum(w.numel() * w.element_size() for w in policy.lm.parameters()) * (1 if policy.adapter else 2)
    return whole // collectives.world_size() if policy.is_sharded else whole


def available_memory(device: torch.device) -> int:
    """Free bytes on the device that is trained on; where a system does not tell, more than anything needs."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    told = Path("/proc/meminfo")
    lines = told.read_text(encoding="ascii").splitlines() if told.is_file() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else 2**63


GIB = 2**30


def describe_setup(cfg: DictConfig, components: Components, folder: Path) -> dict[str, str]:
    """What the live view says about the run."""
    size = sum(p.numel() for p in components.policy.lm.parameters())
    return {
        "policy": f"{components.policy.name}, {size / 1e6:.1f} M parameters",
        "round": shape(cfg.algo),
        "seed": str(cfg.seed),
        "folder": str(folder),
    }


def shape(algo: DictConfig) -> str:
    """What a round is made of."""
    if "num_iterations" not in algo:
        return "none: nothing is trained"
    return f"{algo.groups_per_batch} problems x {algo.group_size} samples x {algo.turns} turns"


def estimate_run(cfg: DictConfig, components: Components) -> dict[str, str]:
    """Bytes at the largest moment in each process, against what is free for it; and the most there is to do."""
    algo = cfg.algo
    if not algo.get("num_iterations"):
        return {}
    policy = components.policy
    parts = estimate_memory(policy, rows(cfg), longest_conversation(cfg, policy, components.runner, components.task))
    sharing = 1 if policy.device.type == "cuda" else max(collectives.world_size() // cfg.trainer.nodes, 1)
    have = available_memory(policy.device) / sharing + current_memory(policy)
    about = ", ".join(f"{name} {size / GIB:.2g}" for name, size in parts.items())
    short = "" if sum(parts.values()) <= have else ": too much"
    steps = algo.get("iterations", algo.num_iterations) * algo.update_epochs * algo.num_minibatches
    tokens = episodes(cfg) * algo.turns * algo.max_tokens if samples_from_policy(cfg) else 0
    return {
        "memory": f"about {sum(parts.values()) / GIB:.2g} of {have / GIB:.2g} GiB{short} ({about})",
        "at most": f"{algo.num_iterations:,} rounds, {steps:,} optimizer steps, {episodes(cfg):,} episodes, "
        f"{min(tokens, cfg.budget.sampled_tokens or tokens):,} sampled tokens",
    }


def rows(cfg: DictConfig) -> int:
    """Conversations whose cache each process holds at once while a round is sampled; a server holds its own."""
    episodes = int(cfg.algo.get("groups_per_batch", 1) * cfg.algo.get("group_size", 1))
    return (
        0
        if cfg.rollout.name == "vllm"
        else min(int(cfg.rollout.max_batch_size), -(-episodes // collectives.world_size()))
    )


def samples_from_policy(cfg: DictConfig) -> bool:
    """Whether the policy's own replies are trained on, and not solutions that were given."""
    return bool(cfg.algo.get("num_iterations")) and class_attribute(
        cfg.algo["_target_"], "samples_from_policy", default=True
    )


def describe_pace(cfg: DictConfig, replies: int, seconds: float) -> str:
    """How long it will take to draw and check what is trained on, where ``replies`` have taken ``seconds``."""
    wanted = episodes(cfg) * cfg.algo.turns
    return (
        f"at the pace of this evaluation ({replies / seconds:,.0f} replies/s) the {wanted:,} replies to train on take "
        f"{clock(wanted * seconds / replies)}; updates come on top"
    )


def episodes(cfg: DictConfig) -> int:
    """How many the run plays, unless its budget of tokens ends it before."""
    planned = int(cfg.algo.num_iterations * cfg.algo.groups_per_batch * cfg.algo.group_size)
    return min(planned, cfg.budget.episodes or planned)
