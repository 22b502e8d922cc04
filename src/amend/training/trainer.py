"""Train an algorithm with Lightning's trainer, from the beginning or from a checkpoint.

A checkpoint is one file. Under ``trainer=fsdp`` it is a folder, to which each rank has written its shard.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy

from amend.algo.base import Algorithm, GenerationStrategy
from amend.components import Components
from amend.distributed import collectives, fsdp
from amend.training.callbacks import RunCallbacks
from amend.training.checkpoints import load_checkpoint_metadata
from amend.training.problem_dataset import ProblemDataset

STRATEGIES: dict[str, Any] = {  # the strategy of Lightning by ``trainer.strategy``
    "single": lambda: "auto",
    "ddp": DDPStrategy,
    "fsdp": lambda: ModelParallelStrategy(data_parallel_size=collectives.world_size(), tensor_parallel_size=1),
}


def fit(
    cfg: DictConfig,
    components: Components,
    algorithm: GenerationStrategy,
    callbacks: RunCallbacks,
    checkpoint: Path | None,
) -> None:
    """Train ``algorithm``; one epoch of Lightning is one iteration.

    Args:
        cfg: The configuration of the run.
        components: The components of the run.
        algorithm: The algorithm; a prompting method returns at once.
        callbacks: The callbacks of the run.
        checkpoint: The checkpoint of a resumed run, or None.
    """
    if not isinstance(algorithm, Algorithm):
        return  # a prompting method trains nothing
    trainer = pl.Trainer(
        max_epochs=algorithm.num_iterations,
        accelerator="gpu" if algorithm.policy.device.type == "cuda" else "cpu",
        devices=cfg.trainer.devices,
        num_nodes=cfg.trainer.nodes,
        strategy=STRATEGIES[cfg.trainer.strategy](),
        logger=False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    if checkpoint is not None:
        saved = load_checkpoint_metadata(checkpoint)
        algorithm.on_load_checkpoint(saved)
        if algorithm.progress >= 1:  # only the evaluation is left; Lightning would add an iteration
            if checkpoint.is_dir():
                algorithm.configure_model()
                fsdp.load_sharded_checkpoint(algorithm, checkpoint)
            else:
                algorithm.load_state_dict(saved["state_dict"])
            return
    loader = torch.utils.data.DataLoader(ProblemDataset(components.task, algorithm), batch_size=None)
    try:
        trainer.fit(algorithm, loader, ckpt_path=checkpoint, weights_only=True)
    except KeyboardInterrupt:
        callbacks.stop.stopped = True
