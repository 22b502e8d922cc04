"""Rows of JSON files, each with the place it stands at, so that whatever is wrong with one can be found and mended."""

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
Placed = tuple[str, Row]  # where a row stands, for messages, and the row


@contextmanager
def at(where: str) -> Iterator[None]:
    """Put the place in front of any UserError raised within."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def content(file: Path) -> bytes:
    """All of a file; UserError where it cannot be read or is only Git LFS's pointer to the data."""
    try:
        read = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    if read.startswith(b"version https://git-lfs"):
        raise UserError(f"{file}: is a Git LFS pointer, not the data; run: git lfs pull")
    return read


def lines(file: Path, read: bytes) -> Iterator[Placed]:
    """The objects of a JSON Lines file, gzipped or not, with their places; blank lines are skipped.

    UserError naming a bad line.
    """
    if read.startswith(b"\x1f\x8b"):
        try:
            read = gzip.decompress(read)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{file}: is no whole gzip file ({error})") from error
    for number, line in enumerate(read.split(b"\n"), 1):
        if line.strip():
            where = f"{file}, line {number}"
            with at(where):
                row = parsed(line)
            yield where, row


def parsed(text: bytes) -> dict[str, Any]:
    """One JSON object. UserError where it is none."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:  # what is not UTF-8 is a ValueError too
        raise UserError(f"not JSON ({str(error)[:80]})") from error
    if not isinstance(row, dict):
        raise UserError("not a JSON object with named fields")
    return row


def text(row: Row, *names: str) -> str:
    """The first of these fields that is there, which must be text. UserError naming the field otherwise."""
    for name in names:
        if name in row:
            if not isinstance(row[name], str):
                raise UserError(f"field '{name}' is {shown(row[name])}, not text")
            return str(row[name])
    raise UserError(f"field {' or '.join(repr(name) for name in names)} is missing")


def shown(value: object) -> str:
    """A field's value as JSON writes it, cut where it is long."""
    return json.dumps(value, default=str)[:60]
