"""A run's folder: made by one process, held by one process, never overwritten.

    <runs_dir>/<task>/<algo>/<hash>-s<seed>[-2, -3, ...]/

The hash is of everything that decides the outcome, the seed left out, so seeds of one experiment stand side by side. A
folder is created with mkdir, which only one of two processes can win, and held by a file lock, which the kernel drops
when its process dies, however it dies. Files appear whole or not at all: written beside, flushed to the disk, renamed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from amend.errors import UserError
from amend.results.run_folder.atomic_files import (
    TEMPORARY,
    atomic_write,
    os_errors_as_user_errors,
    recover,
    to_json_value,
)
from amend.results.run_folder.naming import FINISHED, LOCK, existing_runs, run_path
from amend.results.run_folder.provenance import versions


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
        base = run_path(cfg)
        with os_errors_as_user_errors(base):
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
        base = run_path(cfg)
        found = existing_runs(base)
        unfinished = [path for path in reversed(found) if not (path / FINISHED).exists()]
        if not unfinished:
            why = f"{found[0]} is finished" if found else f"there is no {base}"
            raise UserError(f"resume=true: nothing to go on with, {why}; leave resume=true out to start a new run")
        for path in unfinished:
            with os_errors_as_user_errors(path):
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
        """Write ``name`` with ``atomic_write`` and return its path."""
        atomic_write(self.path / name, write, self.temp_path(name))
        return self.path / name

    def recover(self) -> None:
        """Remove what a killed run has left half written."""
        recover(self.path)

    def write_collective(self, name: str, write: Callable[[Path], object]) -> Path:
        """``write``, for what all processes of a run must be called for and only return from together."""
        return self.write(name, write)

    def temp_path(self, name: str) -> Path:
        """Where a file is written before it takes its name."""
        path = self.path / name
        return path.with_name(f".{path.name}{TEMPORARY}")

    def write_json(self, name: str, value: Any) -> Path:
        """``write`` for a JSON value."""
        text = json.dumps(to_json_value(value), indent=2) + "\n"
        return self.write(name, lambda beside: beside.write_text(text, encoding="utf-8"))

    def append(self, name: str, row: dict[str, Any]) -> None:
        """One JSON line at the end of a file: all of it or, where the disk is full, none of it."""
        path = self.path / name
        line = (json.dumps(to_json_value(row)) + "\n").encode()
        with os_errors_as_user_errors(path), path.open("ab", buffering=0) as file:
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


class ReadOnlyRunFolder(RunFolder):
    """The folder of a run as its other processes have it, who read and leave all writing to the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = None

    def write(self, name: str, write: Callable[[Path], object]) -> Path:
        """Nothing."""
        return self.path / name

    def write_collective(self, name: str, write: Callable[[Path], object]) -> Path:
        """This process's part of it."""
        write(self.temp_path(name))
        return self.path / name

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Nothing."""

    def recover(self) -> None:
        """Nothing."""

    def truncate(self, done: int) -> None:
        """Nothing."""


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


def _round(line: bytes) -> float:
    """The round of a line; infinity for one that is cut short and so belongs to no round that was finished."""
    try:
        return float(json.loads(line)["iteration"]) if line.endswith(b"\n") else math.inf
    except (ValueError, KeyError, TypeError):
        return math.inf
