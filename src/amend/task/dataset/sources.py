"""Where rows come from: a JSON Lines file, a folder of them, or the hub; each with its SHA-256 and its row count.

Files are read here with nothing but json, so that whatever is wrong with one is said with its line, and the hash is of
the very bytes that were read. A set from the hub is hashed row by row. What a run has read it keeps: ``sources.json``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from amend.errors import UserError
from amend.task.dataset.jsonl import Placed, Row, content, lines

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class Table(NamedTuple):
    """Rows with their places, what they were read from, and the SHA-256 of that."""

    source: str
    sha256: str
    rows: list[Placed]

    @property
    def provenance(self) -> dict[str, str | int]:
        """What a run keeps of it."""
        return {"source": self.source, "sha256": self.sha256, "rows": len(self.rows)}


def from_file(file: Path) -> Table:
    """A JSON Lines file. UserError naming the file, and the line where one is no JSON object."""
    read = content(file)
    return Table(str(file), hashlib.sha256(read).hexdigest(), list(lines(file, read)))


def is_local(source: str, *, beside: Sequence[str], layout: str) -> bool:
    """Whether ``source`` is a file or folder rather than a hub id (or one of the words ``beside``).

    Raises UserError where it is none of them; ``layout`` says what a folder must hold.
    """
    if Path(source).expanduser().exists():
        return True
    if source in beside or HUB_ID.fullmatch(source):
        return False
    words = "".join(f"{word}, " for word in beside)
    raise UserError(
        f"task.source={source}: no such folder; allowed: {words}a hub id (owner/name), or a folder with {layout}"
    )


def first_file(folder: Path, names: Sequence[str], split: str) -> Path:
    """The first of these files that the folder has. UserError naming all of them where it has none."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"task.source={folder}: no {split} problems; looked for {', '.join(names)}")


def from_hub(source: str, split: str, configuration: str | None, *, layout: str, beside: Sequence[str] = ()) -> Table:
    """One split of a hub data set: of one configuration or, with None, of all of them one after the other. ``beside``
    are other data sets that the same choice of source needs.

    UserError where it cannot be had, with the command that fetches it and the folder that would do instead.
    """
    import datasets

    try:
        try:
            named = () if configuration is None else (configuration,)
            tables = {"": datasets.load_dataset(source, *named, split=split)}
        except ValueError as error:
            if configuration is not None or "config name is missing" not in str(error).lower():
                raise
            parts = sorted(datasets.get_dataset_config_names(source))
            tables = {f" ({part})": datasets.load_dataset(source, part, split=split) for part in parts}
    except Exception as error:  # the hub's client has no one class for "not there", "no network" and "no such split"
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        asked = [", ".join(repr(word) for word in (source, configuration) if word is not None), *map(repr, beside)]
        fetch = "; ".join(["import datasets", *(f"datasets.load_dataset({one})" for one in asked)])
        raise UserError(
            f"task.source={source}: cannot be had from the hub ({what}); where there is a network, fetch it with: "
            f'python -c "{fetch}"; or name a folder with '
            f"{layout} in it: task.source=FOLDER"
        ) from error
    rows = [(f"{source}{part} {split}, row {i}", row) for part, table in tables.items() for i, row in enumerate(table)]
    return Table(f"{source} {split}", digest(row for _, row in rows), rows)


def digest(rows: Iterable[Row]) -> str:
    """The SHA-256 of rows that no file stands behind."""
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return found.hexdigest()
