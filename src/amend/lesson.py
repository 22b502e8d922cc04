"""A short training beside a run's own: what makes the policy before it begins, and a student after it has ended.

It is an algorithm of amend/algo like any other, played for one round with every lever at rest and the oracle's reward,
whatever the run itself has chosen. It draws from the run's seed and writes nothing.
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from amend.algo.base import Algorithm
from amend.build import House, Rounds, find, house
from amend.explore import Explore
from amend.explore.curriculum import Uniform
from amend.explore.entropy import Nothing
from amend.explore.start import Fresh
from amend.explore.temperature import Constant
from amend.reward import Score
from amend.reward.oracle import Oracle
from amend.reward.orm import ABOUT
from amend.types import Budget


def lesson(made: House, name: str, seed: int, **knobs: Any) -> Algorithm:
    """One round of ``algo=name`` with these knobs on the policy as it stands, its learning rate falling to nothing; the
    learner, when it is over."""
    explore = Explore(Constant(value=[1.0]), Uniform(), Fresh(), Nothing())
    score = Score({"oracle": Oracle(made.task, weight=1.0)}, max_failures=1.0)
    budget = Budget(sampled_tokens=None, episodes=None)
    handed = (made.policy, made.play, score, explore, budget, seed)
    adam = {"decay": "linear", "warm_up": 0, "weight_decay": 0.0, "clip_norm": 1.0}
    learner: Algorithm = find("algo", name)(*handed, rounds=1, turns=1, iterations=1, union=False, **adam, **knobs)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator=made.policy.device.type,
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(learner, torch.utils.data.DataLoader(Rounds(made.task, learner), batch_size=None))
    made.play.sync()
    return learner


def outcome_models(cfg: DictConfig) -> set[str]:
    """The folders of the outcome models that this run asks."""
    return {str(path) for path in (*(part.get("path") for part in cfg.reward.values()), cfg.eval.ranker) if path}


def sampled_for_orms(cfg: DictConfig) -> int:
    """Tokens that were drawn to teach them, which no budget of this run has counted."""
    about = [Path(path).expanduser() / ABOUT for path in sorted(outcome_models(cfg))]
    return sum(json.loads(path.read_text(encoding="utf-8")).get("sampled_tokens", 0) for path in about)


def make_orm(cfg: DictConfig) -> None:
    """With ``orm.make``: the outcome model that this run needs, where there is none; other runs wait for it."""
    path = Path(cfg.orm.path).expanduser()
    if not cfg.orm.make or cfg.orm.path not in outcome_models(cfg) or (path / ABOUT).exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (path / ABOUT).exists():
            from amend.orm import train_orm

            plain = OmegaConf.merge(cfg, {"seed": 0, "eval": {"ranker": None}})
            assert isinstance(plain, DictConfig)
            plain.reward = {"oracle": {"weight": 1.0}}
            train_orm(house(plain), plain)
