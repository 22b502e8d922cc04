"""A run's folder: made by one process, held by one process, never overwritten.

    <runs_dir>/<task>/<algo>/<hash>-s<seed>[-2, -3, ...]/

The hash is of everything that decides the outcome, the seed left out, so seeds of one experiment stand side by side. A
folder is created with mkdir, which only one of two processes can win, and held by a file lock, which the kernel drops
when its process dies, however it dies. Files appear whole or not at all: written beside, flushed to the disk, renamed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from amend.config import command
from amend.errors import UserError

# Keys that decide where and how a run is watched, not what comes out of it (``scale``: its values stand in other keys).
ASIDE = (
    "seed", "runs_dir", "logger", "resume", "responses", "verdicts", "run", "runs", "out", "to", "publish",
    "scale", "pretrain", "orm", "compare", "alarm",
)  # fmt: skip
FINISHED = ".finished"
LOCK = ".lock"
REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EACCES: "no right to write there; choose another runs_dir=...",
    errno.EPERM: "no right to write there; choose another runs_dir=...",
    errno.EROFS: "the file system is read-only; choose another runs_dir=...",
    errno.ENOTDIR: "a part of that path is a file; choose another runs_dir=...",
}


class RunFolder:
    """One run's files. Made by ``create`` or ``resume``; a context manager that gives the lock back at the end."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock
        # A forked worker that outlives a killed run must not keep its lock; closing a copy leaves the original's be.
        mine = weakref.ref(self)

        def let_go() -> None:
            if (held := mine()) is not None:
                held._close()

        os.register_at_fork(after_in_child=let_go)

    @classmethod
    def create(cls, cfg: DictConfig) -> RunFolder:
        """A new folder for this configuration, with config.yaml and versions.json in it."""
        base = home(cfg)
        with explained(base):
            base.parent.mkdir(parents=True, exist_ok=True)
            number = 1
            while True:
                path = base if number == 1 else base.with_name(f"{base.name}-{number}")
                number += 1
                try:
                    os.mkdir(path)
                except FileExistsError:
                    continue
                lock = _locked(path)
                if lock is not None:
                    break
        folder = cls(path, lock)
        try:
            folder.write_json("versions.json", versions(cfg))
            folder.write("config.yaml", lambda beside: OmegaConf.save(cfg, beside, resolve=True))
        except UserError:
            folder._close()
            raise
        return folder

    @classmethod
    def resume(cls, cfg: DictConfig) -> RunFolder:
        """The newest unfinished folder of this configuration and seed; UserError where none is, or one is in use."""
        base = home(cfg)
        found = begun(base)
        unfinished = [path for path in reversed(found) if not (path / FINISHED).exists()]
        if not unfinished:
            why = f"{found[0]} is finished" if found else f"there is no {base}"
            raise UserError(f"resume=true: nothing to go on with, {why}; leave resume=true out to start a new run")
        for path in unfinished:
            with explained(path):
                lock = _locked(path)
            if lock is not None:
                folder = cls(path, lock)
                if not (path / FINISHED).exists():
                    return folder
                folder._close()  # it finished while we looked
        raise UserError(f"resume=true: {unfinished[0]} is in use by a run that is alive; wait for it, or end it first")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, name: str, write: Callable[[Path], object]) -> Path:
        """A file that appears whole or not at all: ``write`` fills the path it is given, which then takes the name."""
        path, beside = self.path / name, self.beside(name)
        with explained(path):
            path.parent.mkdir(exist_ok=True)
            try:
                write(beside)
                _to_disk(beside)
                if beside.is_dir() and path.exists():  # no rename puts one folder in the place of another
                    os.replace(path, self._aside(path))
                os.replace(beside, path)
                _remove(self._aside(path))
            finally:
                _remove(beside)
        return path

    @staticmethod
    def _aside(path: Path) -> Path:
        return path.with_name(f".{path.name}.before")

    def mend(self) -> None:
        """After a kill: what was half written is removed, and what was moved aside for it is back in its place."""
        for beside in self.path.glob("**/.*.writing"):
            _remove(beside)
        for before in self.path.glob("**/.*.before"):
            path = before.with_name(before.name.removeprefix(".").removesuffix(".before"))
            if path.exists():
                _remove(before)
            else:
                os.replace(before, path)

    def jointly(self, name: str, write: Callable[[Path], object]) -> Path:
        """``write``, for what all processes of a run must be called for and only return from together."""
        return self.write(name, write)

    def beside(self, name: str) -> Path:
        """Where a file is written before it takes its name."""
        path = self.path / name
        return path.with_name(f".{path.name}.writing")

    def write_json(self, name: str, value: Any) -> Path:
        """``write`` for a JSON value."""
        text = json.dumps(plain(value), indent=2) + "\n"
        return self.write(name, lambda beside: beside.write_text(text, encoding="utf-8"))

    def append(self, name: str, row: dict[str, Any]) -> None:
        """One JSON line at the end of a file: all of it or, where the disk is full, none of it."""
        path = self.path / name
        line = (json.dumps(plain(row)) + "\n").encode()
        with explained(path), path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                if file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):
                    file.truncate(before)
                raise

    def truncate(self, done: int) -> None:
        """Cut every .jsonl file after round ``done``: what a checkpoint does not know is done, and written, again."""
        for path in sorted(self.path.glob("*.jsonl")):
            lines = [line for line in path.read_bytes().splitlines(keepends=True) if _round(line) <= done]
            self.write(path.name, lambda beside, lines=lines: beside.write_bytes(b"".join(lines)))  # type: ignore[misc]

    def finish(self) -> None:
        """From now on there is nothing to resume."""
        self.write(FINISHED, lambda beside: beside.touch())


class Onlooker(RunFolder):
    """The folder of a run as its other processes have it, who read and leave all writing to the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = None

    def write(self, name: str, write: Callable[[Path], object]) -> Path:
        """Nothing."""
        return self.path / name

    def jointly(self, name: str, write: Callable[[Path], object]) -> Path:
        """This process's part of it."""
        write(self.beside(name))
        return self.path / name

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Nothing."""

    def mend(self) -> None:
        """Nothing."""

    def truncate(self, done: int) -> None:
        """Nothing."""


def identity(cfg: DictConfig) -> str:
    """Eight hex digits of the resolved configuration, without what does not decide the outcome."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    kept = {str(key): value for key, value in config.items() if key not in ASIDE}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


def home(cfg: DictConfig) -> Path:
    """Where this configuration's first folder is, or would be."""
    return Path(cfg.runs_dir) / cfg.task.name / cfg.algo.name / f"{identity(cfg)}-s{cfg.seed}"


def begun(base: Path) -> list[Path]:
    """The folders of the run whose ``home`` is ``base``, newest last. One without config.yaml was killed before it held
    anything, and is none of them."""
    here = [path for path in base.parent.glob(f"{base.name}*") if _numbered(path, base)]
    return sorted(here, key=lambda path: (path / "config.yaml").stat().st_mtime_ns)


def finished(base: Path) -> Path | None:
    """The one of them that finished last."""
    done = [path for path in begun(base) if (path / FINISHED).exists()]
    return max(done, key=lambda path: (path / FINISHED).stat().st_mtime_ns, default=None)


def versions(cfg: DictConfig) -> dict[str, Any]:
    """What ran, and on what: Python, every installed package, the lockfile's hash, machine, commit, command."""
    installed = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    return {
        "command": command(cfg),
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
    path = Path(__file__).parents[2] / "constraints.txt"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def plain(value: Any) -> Any:
    """A value as JSON can hold it: numpy's numbers as Python's, and null for one that is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What the operating system refused, in one line that names the path and what to do."""
    try:
        yield
    except OSError as error:
        reason = REASONS.get(error.errno or 0, error.strerror or " ".join(str(error).split()))
        raise UserError(f"{error.filename or path}: cannot be written: {reason}") from error


def _locked(path: Path) -> int | None:
    """A lock on the folder, or None where another process has it."""
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError as error:
        os.close(lock)
        raise UserError(f"{path}: no file locks there ({error.strerror}); choose another runs_dir=...") from error
    return lock


def _numbered(path: Path, base: Path) -> bool:
    mine = path.name == base.name or path.name.removeprefix(f"{base.name}-").isdigit()
    return mine and (path / "config.yaml").is_file()


def _to_disk(path: Path) -> None:
    for part in [path, *path.rglob("*")] if path.is_dir() else [path]:
        handle = os.open(part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _round(line: bytes) -> float:
    """The round of a line; infinity for one that is cut short and so belongs to no round that was finished."""
    try:
        return float(json.loads(line)["round"]) if line.endswith(b"\n") else math.inf
    except (ValueError, KeyError, TypeError):
        return math.inf


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
