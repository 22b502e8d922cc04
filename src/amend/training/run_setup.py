"""Open or resume the run folder, and record which data the task has read."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig

from amend.components import Components
from amend.distributed import collectives
from amend.errors import UserError
from amend.results.run_folder.folder import ReadOnlyRunFolder, RunFolder


def record_sources(folder: RunFolder, components: Components) -> None:
    """Write the data sources of the task, with row counts and SHA-256, to sources.json.

    Raises:
        UserError: If a resumed run reads other data than before.
    """
    sources = dict(components.task.provenance)
    path = folder.path / "sources.json"
    if path.exists() and (before := json.loads(path.read_text(encoding="utf-8"))) != sources:
        changed = next(name for name in {**before, **sources} if before.get(name) != sources.get(name))
        raise UserError(
            f"resume=true: the data changed since {folder.path} began ({changed}: {before.get(changed)} then, "
            f"{sources.get(changed)} now); restore it, or start another run without resume=true"
        )
    if sources:
        folder.write_json("sources.json", sources)


def open_run_folder(cfg: DictConfig) -> RunFolder:
    """Create the run folder, or find that of a resumed run; rank 0 holds its lock, other ranks only read it."""
    opened: list[RunFolder] = []

    def open_folder() -> Path:
        opened.append(RunFolder.resume(cfg) if cfg.resume else RunFolder.create(cfg))
        return opened[0].path

    path = collectives.run_on_rank_zero(open_folder)
    return opened[0] if opened else ReadOnlyRunFolder(path)
