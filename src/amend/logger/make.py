"""Where a run can be watched beside its own folder: W&B (offline by default, or online), trackio, CSV, or nowhere.

metrics.jsonl, episodes.parquet and summary.json are written whatever is chosen here, and nothing is ever read back from
a logger. So logging never breaks a run: what goes wrong is said once, counted (``Logger.errors``), and the run goes on.
All W&B runs under one ``runs_dir`` share its wandb/ folder, so ``wandb leet runs/wandb`` shows them side by side.
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from amend.logger.base import Logger


def make(cfg: DictConfig, folder: Path) -> Logger:
    """The logger that the configuration names, for the run in ``folder``."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    plain = {str(key): value for key, value in config.items()}
    values = {key: value for key, value in plain["logger"].items() if key not in ("_target_", "name")}
    logger: Logger = hydra.utils.get_object(plain["logger"]["_target_"])(folder, plain, **values)
    return logger
