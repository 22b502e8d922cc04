"""Estimates before the first iteration: memory, optimizer steps, episodes, tokens and time.

Memory and counts come from the configuration, and time comes from the pace of the base model's evaluation. The time
of an update is known after the first iteration; the terminal view then shows the remaining time.
"""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig

from amend.components import Components, longest_conversation
from amend.config.schema import class_attribute
from amend.distributed import collectives
from amend.ops.logprobs import MAX_LOGITS
from amend.policy.policy import Policy
from amend.results.report.formatting import clock


def estimate_memory(policy: Policy, rows: int, longest: int) -> dict[str, int]:
    """Estimate the bytes of weights, activations and cache for ``rows`` conversations of up to ``longest`` tokens."""
    lm, config = policy.lm, policy.lm.config.get_text_config()
    stored = torch.finfo(lm.dtype).bits // 8
    computed = 2 if policy.in_bfloat16 else stored
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    micro = max(policy.max_tokens_per_micro_batch, longest)
    per_token = config.hidden_size * (2 if policy.uses_gradient_checkpointing else 17)
    if lm.config._attn_implementation == "eager":
        per_token += 2 * heads * longest
    trained = sum(w.numel() * w.element_size() for w in lm.parameters() if w.requires_grad)
    copies = 3 / collectives.world_size() if policy.is_sharded else 3 + (collectives.world_size() > 1)
    return {
        "weights": current_memory(policy) + int(copies * trained),
        "activations": micro * per_token * config.num_hidden_layers * computed + 6 * 4 * MAX_LOGITS,
        "cache": rows * longest * 2 * config.num_hidden_layers * shared * head * stored,
    }


def current_memory(policy: Policy) -> int:
    """Return the bytes of the loaded weights of the model and its reference, on this rank."""
    total = sum(w.numel() * w.element_size() for w in policy.lm.parameters()) * (1 if policy.adapter else 2)
    return total // collectives.world_size() if policy.is_sharded else total


def available_memory(device: torch.device) -> int:
    """Return the free bytes on the training device; 2**63 on a system that does not report them."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text(encoding="ascii").splitlines() if meminfo.is_file() else []
    available = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return available[0] if available else 2**63


GIB = 2**30


def describe_setup(cfg: DictConfig, components: Components, folder: Path) -> dict[str, str]:
    """Return the facts about a run that the terminal view shows."""
    size = sum(p.numel() for p in components.policy.lm.parameters())
    return {
        "policy": f"{components.policy.name}, {size / 1e6:.1f} M parameters",
        "iteration": shape(cfg.algo),
        "seed": str(cfg.seed),
        "folder": str(folder),
    }


def shape(algo: DictConfig) -> str:
    """Describe the episodes of one iteration."""
    if "num_iterations" not in algo:
        return "none: nothing is trained"
    return f"{algo.groups_per_batch} problems x {algo.group_size} samples x {algo.turns} turns"


def estimate_run(cfg: DictConfig, components: Components) -> dict[str, str]:
    """Return the estimated memory per rank next to the available memory, and the largest amount of work."""
    algo = cfg.algo
    if not algo.get("num_iterations"):
        return {}
    policy = components.policy
    parts = estimate_memory(policy, rows(cfg), longest_conversation(cfg, policy, components.runner, components.task))
    sharing = 1 if policy.device.type == "cuda" else max(collectives.world_size() // cfg.trainer.nodes, 1)
    available = available_memory(policy.device) / sharing + current_memory(policy)
    shares = ", ".join(f"{name} {size / GIB:.2g}" for name, size in parts.items())
    verdict = "" if sum(parts.values()) <= available else ": too much"
    steps = algo.get("iterations", algo.num_iterations) * algo.update_epochs * algo.num_minibatches
    tokens = episodes(cfg) * algo.turns * algo.max_tokens if samples_from_policy(cfg) else 0
    return {
        "memory": f"about {sum(parts.values()) / GIB:.2g} of {available / GIB:.2g} GiB{verdict} ({shares})",
        "at most": f"{algo.num_iterations:,} iterations, {steps:,} optimizer steps, {episodes(cfg):,} episodes, "
        f"{min(tokens, cfg.budget.sampled_tokens or tokens):,} sampled tokens",
    }


def rows(cfg: DictConfig) -> int:
    """Return how many conversations each rank has in its cache at once; 0 if a server has the cache."""
    episodes = int(cfg.algo.get("groups_per_batch", 1) * cfg.algo.get("group_size", 1))
    return (
        0
        if cfg.rollout.name == "vllm"
        else min(int(cfg.rollout.max_batch_size), -(-episodes // collectives.world_size()))
    )


def samples_from_policy(cfg: DictConfig) -> bool:
    """Return whether the algorithm trains on replies of the policy, and not on given solutions."""
    return bool(cfg.algo.get("num_iterations")) and class_attribute(
        cfg.algo["_target_"], "samples_from_policy", default=True
    )


def describe_pace(cfg: DictConfig, replies: int, seconds: float) -> str:
    """Describe how long sampling and grading will take, if ``replies`` took ``seconds``."""
    num_replies = episodes(cfg) * cfg.algo.turns
    return (
        f"at the pace of this evaluation ({replies / seconds:,.0f} replies/s) the {num_replies:,} replies to train on "
        f"take {clock(num_replies * seconds / replies)}; updates come on top"
    )


def episodes(cfg: DictConfig) -> int:
    """Return the number of episodes of the run, unless its budget of tokens ends it before."""
    planned = int(cfg.algo.num_iterations * cfg.algo.groups_per_batch * cfg.algo.group_size)
    return min(planned, cfg.budget.episodes or planned)
