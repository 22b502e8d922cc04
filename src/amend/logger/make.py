"""Create the logger of a run: W&B (offline or online), trackio, CSV, or none.

The run folder always contains metrics.jsonl, episodes.parquet and summary.json, and no run reads data from a logger. A
failing logger therefore never stops a run: ``Logger.errors`` counts the errors, and the first one is reported.

All W&B runs under one ``runs_dir`` share its folder wandb/, so ``wandb leet runs/wandb`` shows them together.
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from amend.logger.base import Logger


def build_logger(cfg: DictConfig, folder: Path) -> Logger:
    """Create the logger that the configuration selects.

    Args:
        cfg: The run's configuration; ``cfg.logger`` has the class and its arguments.
        folder: The run folder.

    Returns:
        The logger.
    """
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    resolved = {str(key): value for key, value in config.items()}
    values = {key: value for key, value in resolved["logger"].items() if key not in ("_target_", "name")}
    logger: Logger = hydra.utils.get_object(resolved["logger"]["_target_"])(folder, resolved, **values)
    return logger
