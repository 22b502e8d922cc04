"""Lightning's loop around an algorithm, and the checkpoint that it goes on from.

A checkpoint is one file; under ``trainer=fsdp`` it is a folder, to which each process has written its part.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from amend import ranks
from amend.algo.base import Algorithm
from amend.build import House, Rounds
from amend.errors import UserError
from amend.keeper import Keeper
from amend.policy import divided
from amend.run_folder import RunFolder

STRATEGIES: dict[str, Any] = {  # Lightning's, by ``trainer.strategy``
    "single": lambda: "auto",
    "ddp": DDPStrategy,
    "fsdp": lambda: ModelParallelStrategy(data_parallel_size=ranks.size(), tensor_parallel_size=1),
}
META = "meta.pt"  # Lightning's name for what is not divided of a checkpoint that is


def fit(cfg: DictConfig, made: House, algorithm: Algorithm, keeper: Keeper, checkpoint: Path | None) -> None:
    """Lightning's loop: one epoch is one round."""
    if not algorithm.rounds:
        return  # a way of asking, with nothing to train
    trainer = pl.Trainer(
        max_epochs=algorithm.rounds,
        accelerator="gpu" if algorithm.policy.device.type == "cuda" else "cpu",
        devices=cfg.trainer.devices,
        num_nodes=cfg.trainer.nodes,
        strategy=STRATEGIES[cfg.trainer.strategy](),
        logger=False,
        callbacks=[keeper],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    if checkpoint is not None:
        saved = about(checkpoint)
        algorithm.on_load_checkpoint(saved)
        if algorithm.done >= 1:  # it had only its evaluation left; the loop would add a round
            if checkpoint.is_dir():
                algorithm.configure_model()
                divided.load_parts(algorithm, checkpoint)
            else:
                algorithm.load_state_dict(saved["state_dict"])
            return
    loader = torch.utils.data.DataLoader(Rounds(made.task, algorithm), batch_size=None)
    try:
        trainer.fit(algorithm, loader, ckpt_path=checkpoint, weights_only=True)
    except KeyboardInterrupt:
        keeper.stopped = True


def about(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint, which is a file; or of one that is a folder of parts, all but the parts."""
    path = checkpoint / META if checkpoint.is_dir() else checkpoint
    found: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return found


def whole(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint with all its weights, be they in parts."""
    if not checkpoint.is_dir():
        return about(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "whole.pt"
        dcp_to_torch_save(checkpoint, file)
        return about(file)


def restore(keeper: Keeper, folder: RunFolder, algorithm: Algorithm) -> Path | None:
    """The checkpoint to go on from, checked, with the lines it does not know cut; None where none was written yet."""
    ranks.on_first(folder.mend)
    if not keeper.last.exists():
        folder.truncate(0)
        return None
    try:
        saved = about(keeper.last)
        done = int(saved["amend"]["round"])
    except Exception as error:  # torch raises whatever the bytes happen to trip over; the user needs the file's name
        raise UserError(
            f"{keeper.last}: not a whole amend checkpoint ({type(error).__name__}); remove it to start this run over, "
            f"or start another run without resume=true"
        ) from error
    if reason := foreign(algorithm, saved):
        raise UserError(
            f"{keeper.last}: a checkpoint of another algorithm or model ({reason}); put this run's own back, remove it "
            f"to start this run over, or start another run without resume=true"
        )
    folder.truncate(done)
    return keeper.last


def foreign(algorithm: Algorithm, saved: Mapping[str, Any]) -> str:
    """Why a checkpoint cannot be this learner's; nothing where it can."""
    try:
        algorithm.on_load_checkpoint(dict(saved))
    except (KeyError, TypeError, ValueError) as error:
        return f"its memory: {type(error).__name__} {error}"
    if "state_dict" not in saved:
        return ""  # its weights lie in parts, beside it
    own, kept = (
        {name: tuple(w.shape) for name, w in of.items()} for of in (algorithm.state_dict(), saved["state_dict"])
    )
    names = {*own} & {*kept} if algorithm.policy.adapter else {*own, *kept}  # of an adapter only the update is kept
    wrong = next((name for name in sorted(names) if own.get(name) != kept.get(name)), None)
    return "" if wrong is None else f"{wrong}: {kept.get(wrong, 'missing')} there, {own.get(wrong, 'missing')} here"
