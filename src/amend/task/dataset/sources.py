"""Read rows from a JSON Lines file, a folder or the hub, with their number and SHA-256.

Files are read with ``json`` alone, so an error message can name the line, and the hash covers the bytes of the file. A
data set from the hub is hashed row by row. A run records its sources in ``sources.json``.
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
    """Rows of a data set and their source.

    Args:
        source: Path or hub id, and the split.
        sha256: Hash of the source, in hexadecimal.
        rows: The location and the object of each row.
    """

    source: str
    sha256: str
    rows: list[Placed]

    @property
    def provenance(self) -> dict[str, str | int]:
        """Return the source, hash and number of rows, for ``sources.json``."""
        return {"source": self.source, "sha256": self.sha256, "rows": len(self.rows)}


def from_file(file: Path) -> Table:
    """Read a JSON Lines file.

    Args:
        file: The path.

    Returns:
        The rows.

    Raises:
        UserError: If the file cannot be read or if a line is not a JSON object.
    """
    data = content(file)
    return Table(str(file), hashlib.sha256(data).hexdigest(), list(lines(file, data)))


def is_local(source: str, *, keywords: Sequence[str], layout: str) -> bool:
    """Return whether a source is a local file or folder, and not a hub id or a keyword.

    ``source`` is the value of ``task.source``. ``keywords`` lists the allowed keywords, such as "builtin". ``layout``
    names the files that a folder must contain, for the error message.

    Raises:
        UserError: If the source is neither an existing path nor a keyword nor a hub id.
    """
    if Path(source).expanduser().exists():
        return True
    if source in keywords or HUB_ID.fullmatch(source):
        return False
    words = "".join(f"{word}, " for word in keywords)
    raise UserError(
        f"task.source={source}: no such folder; allowed: {words}a hub id (owner/name), or a folder with {layout}"
    )


def first_file(folder: Path, names: Sequence[str], split: str) -> Path:
    """Return the first of several files that a folder contains.

    Args:
        folder: The folder.
        names: File names, in order of preference.
        split: Name of the split, for the error message.

    Returns:
        The path of the file.

    Raises:
        UserError: If the folder contains none of the files.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"task.source={folder}: no {split} problems; looked for {', '.join(names)}")


def from_hub(
    source: str, split: str, configuration: str | None, *, layout: str, other_ids: Sequence[str] = ()
) -> Table:
    """Load one split of a data set from the hub.

    ``configuration`` is the name of a configuration; with None, all configurations are concatenated. Two parameters
    serve only the error message: ``layout`` names the files that a local folder must contain, and ``other_ids`` lists
    further hub ids that the same task needs.

    Raises:
        UserError: If the data set cannot be loaded. The message contains the command that fetches it.
    """
    import datasets

    try:
        try:
            arguments = () if configuration is None else (configuration,)
            tables = {"": datasets.load_dataset(source, *arguments, split=split)}
        except ValueError as error:
            if configuration is not None or "config name is missing" not in str(error).lower():
                raise
            parts = sorted(datasets.get_dataset_config_names(source))
            tables = {f" ({part})": datasets.load_dataset(source, part, split=split) for part in parts}
    except Exception as error:  # fallback: the client has no common class for missing data, split or network
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        calls = [", ".join(repr(word) for word in (source, configuration) if word is not None), *map(repr, other_ids)]
        fetch = "; ".join(["import datasets", *(f"datasets.load_dataset({call})" for call in calls)])
        raise UserError(
            f"task.source={source}: cannot be loaded from the hub ({reason}); with network access, fetch it with: "
            f'python -c "{fetch}"; or name a folder with '
            f"{layout} in it: task.source=FOLDER"
        ) from error
    rows = [(f"{source}{part} {split}, row {i}", row) for part, table in tables.items() for i, row in enumerate(table)]
    return Table(f"{source} {split}", digest(row for _, row in rows), rows)


def digest(rows: Iterable[Row]) -> str:
    """Return the SHA-256 of rows that do not come from a file.

    Args:
        rows: The rows, each hashed as JSON with sorted keys.

    Returns:
        The hash, in hexadecimal.
    """
    sha256 = hashlib.sha256()
    for row in rows:
        sha256.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return sha256.hexdigest()
