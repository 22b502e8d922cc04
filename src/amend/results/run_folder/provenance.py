"""Record what a run was made with: package versions, commit, lockfile and CPU."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from amend.config.command_line import reproduce_command


def versions(cfg: DictConfig) -> dict[str, Any]:
    """What ran, and on what: Python, every installed package, the lockfile's hash, machine, commit, command."""
    installed = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    return {
        "command": reproduce_command(cfg),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "commit": _commit(),
        "lockfile": lockfile(),
        "packages": dict(sorted(installed.items(), key=lambda item: item[0].lower())),
    }


def lockfile() -> str | None:
    """SHA-256 of constraints.txt, the versions this checkout was tested with; None where amend is a wheel."""
    path = Path(__file__).parents[4] / "constraints.txt"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    """The commit this file belongs to, ``+`` where files differ from it; None where it is not in a repository."""

    def git(*words: str) -> str:
        asked = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
