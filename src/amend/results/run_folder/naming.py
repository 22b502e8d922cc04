"""Names of run folders: the hash of a configuration, its path, and the runs that exist for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

# Keys that decide where and how a run is watched, not what comes out of it (``scale``: its values stand in other keys).
EXCLUDED_FROM_HASH = (
    "seed", "runs_dir", "logger", "resume", "responses", "verdicts", "run", "runs", "out", "to", "publish",
    "scale", "pretrain", "orm", "compare", "alerts",
)  # fmt: skip
FINISHED = ".finished"
LOCK = ".lock"


def config_hash(cfg: DictConfig) -> str:
    """Eight hex digits of the resolved configuration, without what does not decide the outcome."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    kept = {str(key): value for key, value in config.items() if key not in EXCLUDED_FROM_HASH}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


def run_path(cfg: DictConfig) -> Path:
    """Where this configuration's first folder is, or would be."""
    return Path(cfg.runs_dir) / cfg.task.name / cfg.algo.name / f"{config_hash(cfg)}-s{cfg.seed}"


def existing_runs(base: Path) -> list[Path]:
    """The folders of the run whose ``home`` is ``base``, newest last. One without config.yaml was killed before it held
    anything, and is none of them."""
    here = [path for path in base.parent.glob(f"{base.name}*") if _numbered(path, base)]
    return sorted(here, key=lambda path: (path / "config.yaml").stat().st_mtime_ns)


def latest_finished(base: Path) -> Path | None:
    """The one of them that finished last."""
    done = [path for path in existing_runs(base) if (path / FINISHED).exists()]
    return max(done, key=lambda path: (path / FINISHED).stat().st_mtime_ns, default=None)


def _numbered(path: Path, base: Path) -> bool:
    mine = path.name == base.name or path.name.removeprefix(f"{base.name}-").isdigit()
    return mine and (path / "config.yaml").is_file()
