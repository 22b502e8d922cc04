"""job=train_orm: train an outcome reward model on replies that the policy samples."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from amend.components import build_components
from amend.reward.outcome_model import ABOUT


def configured_outcome_models(cfg: DictConfig) -> set[str]:
    """Return the folders of the outcome models that the reward or the reranker uses."""
    return {str(path) for path in (*(part.get("path") for part in cfg.reward.values()), cfg.eval.reranker) if path}


def count_orm_sampled_tokens(cfg: DictConfig) -> int:
    """Return the number of tokens sampled to train these outcome models; no budget of this run includes them."""
    about = [Path(path).expanduser() / ABOUT for path in sorted(configured_outcome_models(cfg))]
    return sum(json.loads(path.read_text(encoding="utf-8")).get("sampled_tokens", 0) for path in about)


def train_missing_orm(cfg: DictConfig) -> None:
    """Train the outcome model that this run needs, if it is missing and ``orm.train_if_missing`` is set.

    A file lock makes other runs wait for the model instead of training it again.
    """
    path = Path(cfg.orm.path).expanduser()
    if not cfg.orm.train_if_missing or cfg.orm.path not in configured_outcome_models(cfg) or (path / ABOUT).exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (path / ABOUT).exists():
            from amend.training.outcome_model import train_orm

            plain = OmegaConf.merge(cfg, {"seed": 0, "eval": {"reranker": None}})
            assert isinstance(plain, DictConfig)
            plain.reward = {"oracle": {"_target_": "amend.reward.oracle.Oracle", "weight": 1.0}}
            train_orm(build_components(plain), plain)


def run(cfg: DictConfig) -> int:
    """Train an outcome reward model on replies of the policy, and print its folder."""
    from amend.training.outcome_model import train_orm

    path = train_orm(build_components(cfg), cfg)
    print(f"outcome model: {path}   use it with: reward=orm reward.orm.path={path}")
    return 0
