"""Create, lock, resume and write run folders. An existing run is never overwritten.

    <runs_dir>/<task>/<algo>/<hash>-s<seed>[-2, -3, ...]/

The hash covers every key that changes the result, except the seed, so all seeds of an experiment have the same hash.
``mkdir`` creates the folder atomically, so two processes never share one. A file lock marks the folder as in use; the
kernel releases the lock when the process ends. Files are written atomically: temporary file, fsync, rename.
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
    """The locked folder of a run, from ``create`` or ``resume``. As a context manager it releases the lock at the end.

    Attributes:
        path: The path of the folder.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock
        # A forked worker may outlive a killed run and must not keep the lock. It closes its copy of the file
        # descriptor, which does not release the lock of the parent.
        reference = weakref.ref(self)

        def close_copy() -> None:
            if (folder := reference()) is not None:
                folder._close()

        os.register_at_fork(after_in_child=close_copy)

    @classmethod
    def create(cls, cfg: DictConfig) -> RunFolder:
        """Create a new run folder with config.yaml and versions.json.

        Args:
            cfg: The configuration of the run.

        Returns:
            The locked folder. It has a numbered suffix if the configuration and seed already have a folder.

        Raises:
            UserError: If the operating system refuses, for example because the disk is full.
        """
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
                lock = _acquire_lock(path)
                if lock is not None:
                    break
        folder = cls(path, lock)
        try:
            folder.write_json("versions.json", versions(cfg))
            folder.write("config.yaml", lambda temporary: OmegaConf.save(cfg, temporary, resolve=True))
        except UserError:
            folder._close()
            raise
        return folder

    @classmethod
    def resume(cls, cfg: DictConfig) -> RunFolder:
        """Open the newest unfinished run folder of a configuration and seed.

        Args:
            cfg: The configuration of the run.

        Returns:
            The locked folder.

        Raises:
            UserError: If there is no unfinished folder, or if another process has locked it.
        """
        base = run_path(cfg)
        existing = existing_runs(base)
        unfinished = [path for path in reversed(existing) if not (path / FINISHED).exists()]
        if not unfinished:
            reason = f"{existing[0]} is finished" if existing else f"there is no {base}"
            raise UserError(f"resume=true: no unfinished run, {reason}; leave out resume=true to start a new run")
        for path in unfinished:
            with os_errors_as_user_errors(path):
                lock = _acquire_lock(path)
            if lock is not None:
                folder = cls(path, lock)
                if not (path / FINISHED).exists():
                    return folder
                folder._close()  # the run finished after the check above
        raise UserError(f"resume=true: {unfinished[0]} is in use by another process; wait for it, or end it first")

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
        """Write a file atomically.

        Args:
            name: The path of the file in the folder.
            write: A function that writes the content to the path it receives.

        Returns:
            The path of the file.

        Raises:
            UserError: If the operating system refuses, for example because the disk is full.
        """
        atomic_write(self.path / name, write, self.temp_path(name))
        return self.path / name

    def recover(self) -> None:
        """Remove the temporary files of a killed run."""
        recover(self.path)

    def write_collective(self, name: str, write: Callable[[Path], object]) -> Path:
        """Write a file with a function that all ranks must call, such as a sharded checkpoint.

        Args:
            name: The path of the file in the folder.
            write: A function that writes the content to the path it receives, and returns on all ranks together.

        Returns:
            The path of the file.
        """
        return self.write(name, write)

    def temp_path(self, name: str) -> Path:
        """Return the path of the temporary file of ``name``, which is the same on all ranks."""
        path = self.path / name
        return path.with_name(f".{path.name}{TEMPORARY}")

    def write_json(self, name: str, value: Any) -> Path:
        """Write a value as a JSON file with ``write``, and return its path."""
        text = json.dumps(to_json_value(value), indent=2) + "\n"
        return self.write(name, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Append one JSON line to a file. If the disk is full, nothing is written.

        Args:
            name: The path of the file in the folder.
            row: The values of the line.

        Raises:
            UserError: If the operating system refuses, for example because the disk is full.
        """
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
        """Remove the lines of all .jsonl files after iteration ``done``, because the resumed run writes them again."""
        for path in sorted(self.path.glob("*.jsonl")):
            lines = [line for line in path.read_bytes().splitlines(keepends=True) if _iteration(line) <= done]
            self.write(path.name, lambda temporary, lines=lines: temporary.write_bytes(b"".join(lines)))  # type: ignore[misc]

    def finish(self) -> None:
        """Mark the run as finished, so that it cannot be resumed."""
        self.write(FINISHED, lambda temporary: temporary.touch())


class ReadOnlyRunFolder(RunFolder):
    """The run folder on ranks other than 0. These ranks only read; rank 0 writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = None

    def write(self, name: str, write: Callable[[Path], object]) -> Path:
        """Return the path of the file. Only rank 0 writes it."""
        return self.path / name

    def write_collective(self, name: str, write: Callable[[Path], object]) -> Path:
        """Call ``write`` with the temporary path of rank 0, and return the path of the file."""
        write(self.temp_path(name))
        return self.path / name

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Do nothing. Only rank 0 writes."""

    def recover(self) -> None:
        """Do nothing. Only rank 0 writes."""

    def truncate(self, done: int) -> None:
        """Do nothing. Only rank 0 writes."""


def _acquire_lock(path: Path) -> int | None:
    """Return the file descriptor of a lock on the folder; None if another process has the lock."""
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError as error:
        os.close(lock)
        raise UserError(
            f"{path}: the file system does not support file locks ({error.strerror}); choose another runs_dir=..."
        ) from error
    return lock


def _iteration(line: bytes) -> float:
    """Return the iteration of a line; infinity for an incomplete line, because its iteration did not finish."""
    try:
        return float(json.loads(line)["iteration"]) if line.endswith(b"\n") else math.inf
    except (ValueError, KeyError, TypeError):
        return math.inf
