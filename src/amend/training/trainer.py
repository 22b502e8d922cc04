"""Lightning's loop around an algorithm, and the checkpoint that it goes on from.

A checkpoint is one file; under ``trainer=fsdp`` it is a folder, to which each process has written its part.
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

STRATEGIES: dict[str, Any] = {  # Lightning's, by ``trainer.strategy``
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
    """Lightning's loop: one epoch is one round."""
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
        if algorithm.progress >= 1:  # it had only its evaluation left; the loop would add a round
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
