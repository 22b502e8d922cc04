"""Write files atomically, and report errors of the file system as errors of the user."""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amend.errors import UserError

REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EACCES: "no right to write there; choose another runs_dir=...",
    errno.EPERM: "no right to write there; choose another runs_dir=...",
    errno.EROFS: "the file system is read-only; choose another runs_dir=...",
    errno.ENOTDIR: "a part of that path is a file; choose another runs_dir=...",
}


def to_json_value(value: Any) -> Any:
    """A value as JSON can hold it: numpy's numbers as Python's, and null for one that is not finite."""
    if isinstance(value, dict):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def os_errors_as_user_errors(path: Path) -> Iterator[None]:
    """What the operating system refused, in one line that names the path and what to do."""
    try:
        yield
    except OSError as error:
        reason = REASONS.get(error.errno or 0, error.strerror or " ".join(str(error).split()))
        raise UserError(f"{error.filename or path}: cannot be written: {reason}") from error


def flush_to_disk(path: Path) -> None:
    for part in [path, *path.rglob("*")] if path.is_dir() else [path]:
        handle = os.open(part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
