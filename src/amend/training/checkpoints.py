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

META = "meta.pt"  # Lightning's name for what is not divided of a checkpoint that is


def load_checkpoint_metadata(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint, which is a file; or of one that is a folder of parts, all but the parts."""
    path = checkpoint / META if checkpoint.is_dir() else checkpoint
    found: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return found


def load_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint with all its weights, be they in parts."""
    if not checkpoint.is_dir():
        return load_checkpoint_metadata(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "whole.pt"
        dcp_to_torch_save(checkpoint, file)
        return load_checkpoint_metadata(file)


def restore(checkpoint: Path, folder: RunFolder, algorithm: GenerationStrategy) -> Path | None:
    """The checkpoint to go on from, checked, with the lines it does not know cut; None where none was written yet."""
    collectives.run_on_rank_zero(folder.recover)
    if not isinstance(algorithm, Algorithm) or not checkpoint.exists():
        folder.truncate(0)
        return None
    try:
        saved = load_checkpoint_metadata(checkpoint)
        done = int(saved["amend"]["iteration"])
    except Exception as error:  # torch raises whatever the bytes happen to trip over; the user needs the file's name
        raise UserError(
            f"{checkpoint}: not a whole amend checkpoint ({type(error).__name__}); remove it to start this run over, "
            f"or start another run without resume=true"
        ) from error
    if reason := find_incompatibility(algorithm, saved):
        raise UserError(
            f"{checkpoint}: a checkpoint of another algorithm or model ({reason}); put this run's own back, remove it "
            f"to start this run over, or start another run without resume=true"
        )
    folder.truncate(done)
    return checkpoint


def find_incompatibility(algorithm: Algorithm, saved: Mapping[str, Any]) -> str:
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


def load_weights(components: Components, path: Path) -> None:
    """A run's best.ckpt or last.ckpt into the policy."""
    try:
        saved = load_checkpoint(path)
        own = {
            k.removeprefix("policy.lm."): v
            for k, v in saved.get("state_dict", {}).items()
            if k.startswith("policy.lm.")
        }
        fsdp.load_full_state_dict(components.policy.lm, own or saved)
    except Exception as error:  # torch raises whatever the bytes happen to trip over; one line says which file
        raise UserError(
            f"checkpoint={path}: no weights of {components.policy.name} in it ({type(error).__name__})"
        ) from error
    components.runner.sync_weights()
