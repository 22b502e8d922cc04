"""Record the software and hardware of a run: package versions, commit, lockfile and CPU."""

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
    """Collect the content of versions.json.

    Args:
        cfg: The configuration of the run.

    Returns:
        The command, Python, platform, CPU, number of cores, commit, hash of the lockfile, and all installed packages.
    """
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
    """Return the SHA-256 of constraints.txt, the tested package versions; None if amend is installed from a wheel."""
    path = Path(__file__).parents[4] / "constraints.txt"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def cpu() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    """Return the git commit of this file, with ``+`` if tracked files are modified; None outside a repository."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
