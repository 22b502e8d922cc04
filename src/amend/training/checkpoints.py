"""Read, verify and restore checkpoints, and load weights from one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from amend.algo.base import Algorithm, GenerationStrategy
from amend.components import Components
from amend.distributed import collectives, fsdp
from amend.errors import UserError
from amend.results.run_folder.folder import RunFolder

META = "meta.pt"  # Lightning's name for the part of a sharded checkpoint that is not sharded


def load_checkpoint_metadata(checkpoint: Path) -> dict[str, Any]:
    """Load a checkpoint file, or of a sharded checkpoint everything except the shards."""
    path = checkpoint / META if checkpoint.is_dir() else checkpoint
    metadata: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return metadata


def load_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """Load a checkpoint with all its weights; the shards of a sharded checkpoint are put together."""
    if not checkpoint.is_dir():
        return load_checkpoint_metadata(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "whole.pt"
        dcp_to_torch_save(checkpoint, file)
        return load_checkpoint_metadata(file)


def restore(checkpoint: Path, folder: RunFolder, algorithm: GenerationStrategy) -> Path | None:
    """Check the checkpoint of a resumed run, and delete the lines of the run folder that are newer.

    Args:
        checkpoint: The path of the checkpoint, which may not exist yet.
        folder: The run folder.
        algorithm: The algorithm that resumes.

    Returns:
        The checkpoint, or None if the run starts from the beginning.

    Raises:
        UserError: If the file is no checkpoint of this algorithm and model.
    """
    collectives.run_on_rank_zero(folder.recover)
    if not isinstance(algorithm, Algorithm) or not checkpoint.exists():
        folder.truncate(0)
        return None
    try:
        saved = load_checkpoint_metadata(checkpoint)
        iteration = int(saved["amend"]["iteration"])
    except Exception as error:  # fallback: torch raises many kinds of errors for damaged files
        raise UserError(
            f"{checkpoint}: not a complete amend checkpoint ({type(error).__name__}); remove it to start this run "
            f"over, or start another run without resume=true"
        ) from error
    if reason := find_incompatibility(algorithm, saved):
        raise UserError(
            f"{checkpoint}: a checkpoint of another algorithm or model ({reason}); put this run's own back, remove it "
            f"to start this run over, or start another run without resume=true"
        )
    folder.truncate(iteration)
    return checkpoint


def find_incompatibility(algorithm: Algorithm, saved: Mapping[str, Any]) -> str:
    """Return why a checkpoint does not fit the algorithm and its model, or "" if it does."""
    try:
        algorithm.on_load_checkpoint(dict(saved))
    except (KeyError, TypeError, ValueError) as error:
        return f"its state: {type(error).__name__} {error}"
    if "state_dict" not in saved:
        return ""  # a sharded checkpoint has its weights in other files
    current, saved_shapes = (
        {name: tuple(w.shape) for name, w in of.items()} for of in (algorithm.state_dict(), saved["state_dict"])
    )
    names = (
        {*current} & {*saved_shapes} if algorithm.policy.adapter else {*current, *saved_shapes}
    )  # the checkpoint of an adapter has only the adapter
    wrong = next((name for name in sorted(names) if current.get(name) != saved_shapes.get(name)), None)
    return (
        ""
        if wrong is None
        else f"{wrong}: {saved_shapes.get(wrong, 'missing')} there, {current.get(wrong, 'missing')} here"
    )


def load_weights(components: Components, path: Path) -> None:
    """Load the weights of a run's best.ckpt or last.ckpt into the policy.

    Raises:
        UserError: If the file has no weights of this model.
    """
    try:
        saved = load_checkpoint(path)
        weights = {
            k.removeprefix("policy.lm."): v
            for k, v in saved.get("state_dict", {}).items()
            if k.startswith("policy.lm.")
        }
        fsdp.load_full_state_dict(components.policy.lm, weights or saved)
    except Exception as error:  # fallback: torch raises many kinds of errors for damaged files
        raise UserError(
            f"checkpoint={path}: no weights of {components.policy.name} in it ({type(error).__name__})"
        ) from error
    components.runner.sync_weights()
