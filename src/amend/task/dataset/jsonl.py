"""Read rows of JSON files, each with its file and line number for error messages."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amend.errors import UserError

Row = Mapping[str, Any]
Placed = tuple[str, Row]  # location of a row (file and line, for error messages), and the row


@contextmanager
def at(where: str) -> Iterator[None]:
    """Prefix each UserError of the ``with`` block with a location.

    Args:
        where: The location, such as "FILE, line 3".

    Raises:
        UserError: If the block raises one.
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def content(file: Path) -> bytes:
    """Return the bytes of a file.

    Args:
        file: The path.

    Returns:
        The bytes.

    Raises:
        UserError: If the file cannot be read, or if it is a Git LFS pointer instead of the data.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    if data.startswith(b"version https://git-lfs"):
        raise UserError(f"{file}: is a Git LFS pointer, not the data; run: git lfs pull")
    return data


def lines(file: Path, read: bytes) -> Iterator[Placed]:
    """Yield the objects of a JSON Lines file. Blank lines are skipped.

    Args:
        file: The path, for error messages.
        read: The bytes of the file; may be gzip-compressed.

    Yields:
        The location and the object of each line.

    Raises:
        UserError: If the gzip data is incomplete or if a line is not a JSON object.
    """
    if read.startswith(b"\x1f\x8b"):
        try:
            read = gzip.decompress(read)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{file}: is not a complete gzip file ({error})") from error
    for number, line in enumerate(read.split(b"\n"), 1):
        if line.strip():
            where = f"{file}, line {number}"
            with at(where):
                row = parsed(line)
            yield where, row


def parsed(text: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Args:
        text: The JSON text in UTF-8.

    Returns:
        The object.

    Raises:
        UserError: If the text is not a JSON object.
    """
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:  # invalid UTF-8 raises a ValueError too
        raise UserError(f"not JSON ({str(error)[:80]})") from error
    if not isinstance(row, dict):
        raise UserError("not a JSON object with named fields")
    return row


def text(row: Row, *names: str) -> str:
    """Return the text of the first of several fields that a row has.

    Args:
        row: The row.
        *names: The names of the fields, in order of preference.

    Returns:
        The text.

    Raises:
        UserError: If the row has none of the fields, or if the first one is not text.
    """
    for name in names:
        if name in row:
            if not isinstance(row[name], str):
                raise UserError(f"field '{name}' is {shown(row[name])}, not text")
            return str(row[name])
    raise UserError(f"field {' or '.join(repr(name) for name in names)} is missing")


def shown(value: object) -> str:
    """Return a value as JSON, cut to 60 characters, for error messages."""
    return json.dumps(value, default=str)[:60]
