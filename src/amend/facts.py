"""What is known of a run before its first round: what it is made of, and about what it will need.

A run that would not fit, or would take a week, should say so before it begins and not after: bytes and numbers from
the configuration, and time from the pace of the base model's evaluation. What an update takes is known once a round is
over; from then on the time left stands beside every round (``report.terminal``).
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from amend import ranks
from amend.build import House, longest
from amend.footprint import available, footprint, held
from amend.report.wording import clock

GIB = 2**30


def facts(cfg: DictConfig, made: House, folder: Path) -> dict[str, str]:
    """What the live view says about the run."""
    size = sum(p.numel() for p in made.policy.lm.parameters())
    return {
        "policy": f"{made.policy.name}, {size / 1e6:.1f} M parameters",
        "round": shape(cfg.algo),
        "seed": str(cfg.seed),
        "folder": str(folder),
    }


def shape(algo: DictConfig) -> str:
    """What a round is made of."""
    if "rounds" not in algo:
        return "none: nothing is trained"
    return f"{algo.problems} problems x {algo.samples} samples x {algo.turns} turns"


def expected(cfg: DictConfig, made: House) -> dict[str, str]:
    """Bytes at the largest moment in each process, against what is free for it; and the most there is to do."""
    algo = cfg.algo
    if not algo.get("rounds"):
        return {}
    policy = made.policy
    parts = footprint(policy, rows(cfg), longest(cfg, policy, made.play, made.task))
    sharing = 1 if policy.device.type == "cuda" else max(ranks.size() // cfg.trainer.nodes, 1)
    have = available(policy.device) / sharing + held(policy)
    about = ", ".join(f"{name} {size / GIB:.2g}" for name, size in parts.items())
    short = "" if sum(parts.values()) <= have else ": too much"
    steps = algo.get("iterations", algo.rounds) * algo.epochs * algo.updates
    tokens = episodes(cfg) * algo.turns * algo.max_tokens if draws(cfg) else 0
    return {
        "memory": f"about {sum(parts.values()) / GIB:.2g} of {have / GIB:.2g} GiB{short} ({about})",
        "at most": f"{algo.rounds:,} rounds, {steps:,} optimizer steps, {episodes(cfg):,} episodes, "
        f"{min(tokens, cfg.budget.sampled_tokens or tokens):,} sampled tokens",
    }


def rows(cfg: DictConfig) -> int:
    """Conversations whose cache each process holds at once while a round is sampled; a server holds its own."""
    episodes = int(cfg.algo.get("problems", 1) * cfg.algo.get("samples", 1))
    return 0 if cfg.rollout.name == "vllm" else min(int(cfg.rollout.batch), -(-episodes // ranks.size()))


def draws(cfg: DictConfig) -> bool:
    """Whether the policy's own replies are trained on, and not solutions that were given."""
    return bool(cfg.algo.get("rounds")) and cfg.algo.name != "sft"


def pace(cfg: DictConfig, replies: int, seconds: float) -> str:
    """How long it will take to draw and check what is trained on, where ``replies`` have taken ``seconds``."""
    wanted = episodes(cfg) * cfg.algo.turns
    return (
        f"at the pace of this evaluation ({replies / seconds:,.0f} replies/s) the {wanted:,} replies to train on take "
        f"{clock(wanted * seconds / replies)}; updates come on top"
    )


def episodes(cfg: DictConfig) -> int:
    """How many the run plays, unless its budget of tokens ends it before."""
    planned = int(cfg.algo.rounds * cfg.algo.problems * cfg.algo.samples)
    return min(planned, cfg.budget.episodes or planned)
