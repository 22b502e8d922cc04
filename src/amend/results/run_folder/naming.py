"""Compute the path of a run folder from its configuration, and find existing run folders."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

# Keys that do not change the result of a run. `scale` is one of them, because it only sets the values of other keys.
EXCLUDED_FROM_HASH = (
    "seed", "runs_dir", "logger", "resume", "responses", "verdicts", "run", "runs", "out", "to", "publish",
    "scale", "pretrain", "orm", "compare", "alerts",
)  # fmt: skip
FINISHED = ".finished"
LOCK = ".lock"


def config_hash(cfg: DictConfig) -> str:
    """Return eight hex digits of the hash of the resolved configuration, without ``EXCLUDED_FROM_HASH``."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    hashed = {str(key): value for key, value in config.items() if key not in EXCLUDED_FROM_HASH}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:8]


def run_path(cfg: DictConfig) -> Path:
    """Return the path of the first run folder of a configuration, which may not exist."""
    return Path(cfg.runs_dir) / cfg.task.name / cfg.algo.name / f"{config_hash(cfg)}-s{cfg.seed}"


def existing_runs(base: Path) -> list[Path]:
    """Find the run folders of a configuration and seed, newest last.

    A folder without config.yaml is left out, because its run was killed before it wrote any file.

    Args:
        base: The path of the first run folder, from ``run_path``.

    Returns:
        The paths ``base``, ``base-2``, ``base-3``, ... that exist.
    """
    folders = [path for path in base.parent.glob(f"{base.name}*") if _is_run_folder(path, base)]
    return sorted(folders, key=lambda path: (path / "config.yaml").stat().st_mtime_ns)


def latest_finished(base: Path) -> Path | None:
    """Return the folder of ``existing_runs`` that finished last; None if no run is finished."""
    finished = [path for path in existing_runs(base) if (path / FINISHED).exists()]
    return max(finished, key=lambda path: (path / FINISHED).stat().st_mtime_ns, default=None)


def _is_run_folder(path: Path, base: Path) -> bool:
    """Return whether ``path`` is ``base`` or one of its numbered successors, and has a configuration."""
    is_name_of_run = path.name == base.name or path.name.removeprefix(f"{base.name}-").isdigit()
    return is_name_of_run and (path / "config.yaml").is_file()
