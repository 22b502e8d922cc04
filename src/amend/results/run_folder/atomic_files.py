"""Write files atomically, and report errors of the file system as ``UserError``."""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amend.errors import UserError

TEMPORARY, PREVIOUS = ".writing", ".before"  # suffixes of temporary files, and of folders that are being replaced
REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EACCES: "permission denied; choose another runs_dir=...",
    errno.EPERM: "permission denied; choose another runs_dir=...",
    errno.EROFS: "the file system is read-only; choose another runs_dir=...",
    errno.ENOTDIR: "a part of that path is a file; choose another runs_dir=...",
}


def to_json_value(value: Any) -> Any:
    """Convert a value to one that JSON can represent.

    Args:
        value: Numbers, strings, and mappings and lists of them, of Python or numpy.

    Returns:
        The value with Python numbers and string keys; None instead of a number that is not finite.
    """
    if isinstance(value, dict):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def os_errors_as_user_errors(path: Path) -> Iterator[None]:
    """Raise an ``OSError`` of the body as a ``UserError``: one line with the path, the reason and a remedy."""
    try:
        yield
    except OSError as error:
        reason = REASONS.get(error.errno or 0, error.strerror or " ".join(str(error).split()))
        raise UserError(f"{error.filename or path}: cannot be written: {reason}") from error


def atomic_write(path: Path, write: Callable[[Path], object], temporary: Path | None = None) -> None:
    """Write a file or a folder so that ``path`` always has its old content or its new content, never a part of it.

    ``write`` fills a temporary file in the same folder, which is flushed to the disk and then renamed. The folder of
    ``path`` is created if it does not exist.

    Args:
        path: The file or folder to write.
        write: A function that writes the content to the path it receives.
        temporary: The temporary path. If None, it has a name that no other process uses.

    Raises:
        UserError: If the operating system refuses, for example because the disk is full.
    """
    with os_errors_as_user_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary or path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
        try:
            write(temporary)
            flush_to_disk(temporary)
            previous = path.with_name(f".{path.name}{PREVIOUS}")
            if temporary.is_dir() and path.exists():  # a rename cannot replace a folder that is not empty
                os.replace(path, previous)
            os.replace(temporary, path)
            remove(previous)
        finally:
            remove(temporary)


def recover(folder: Path) -> None:
    """Remove temporary files that a killed process left in ``folder``, and restore folders that it had moved away."""
    for temporary in folder.glob(f"**/.*{TEMPORARY}"):
        remove(temporary)
    for previous in folder.glob(f"**/.*{PREVIOUS}"):
        path = previous.with_name(previous.name.removeprefix(".").removesuffix(PREVIOUS))
        if path.exists():
            remove(previous)
        else:
            os.replace(previous, path)


def atomic_write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8 with ``atomic_write``; a lone surrogate is written as an escape."""
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="backslashreplace"))


def flush_to_disk(path: Path) -> None:
    """Flush a file, or all files of a folder, to the disk."""
    for part in [path, *path.rglob("*")] if path.is_dir() else [path]:
        handle = os.open(part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove(path: Path) -> None:
    """Remove a file or a folder if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
