"""Write and read ``episodes.parquet``, the file of the episode table, with one schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from amend.results.metrics.episode_table import COLUMNS, OPTIONAL_COLUMNS

ARROW_TYPES: Mapping[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


def to_arrow(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Convert columns to a table with the schema of the episode table.

    Args:
        columns: One sequence for each name of ``COLUMNS``, and optionally for names of ``OPTIONAL_COLUMNS``.

    Returns:
        The table, with the columns in the order of ``COLUMNS``.

    Raises:
        KeyError: If a column is missing.
        ValueError: If a column is unknown.
        pyarrow.ArrowException: If a value has another type than its column.
    """
    kinds = {**COLUMNS, **{name: kind for name, kind in OPTIONAL_COLUMNS.items() if name in columns}}
    if unknown := columns.keys() - kinds.keys():
        raise ValueError(f"episodes.parquet has no column {min(unknown)}; allowed: {', '.join(kinds)}")
    schema = pa.schema([(name, ARROW_TYPES[kind]) for name, kind in kinds.items()])
    return pa.table({name: columns[name] for name in kinds}, schema=schema)


def write_episodes(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns to the file ``path``, with the schema of ``to_arrow``."""
    pq.write_table(to_arrow(columns), path)


def read_episodes(path: Path) -> dict[str, list[Any]]:
    """Read the columns of ``episodes.parquet``.

    Args:
        path: The file.

    Returns:
        The columns of the file. Files of older versions may lack some columns of ``COLUMNS``.

    Raises:
        OSError: If the file cannot be read.
        pyarrow.ArrowException: If the file is not a parquet file.
    """
    columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    return columns
