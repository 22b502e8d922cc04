"""The file of the episode table: one schema, and a wrong value fails when it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from amend.results.metrics.episode_table import COLUMNS
from amend.results.run_folder.episode_file import read_episodes, write_episodes

ROW = {
    "phase": "base", "decoding": "greedy", "problem": "p", "sample": 0, "turn": 1, "question": "1+1?", "gold": "2",
    "level": 1, "subject": "", "text": "3", "answer": None, "correct": False, "why": "no answer", "tokens": 2,
    "logp": -0.5, "stop": "end",
}  # fmt: skip


def columns(**changes: Any) -> dict[str, list[Any]]:
    return {name: [value] for name, value in {**ROW, **changes}.items()}


def test_what_is_written_is_read_and_its_types_do_not_depend_on_the_values(tmp_path: Path) -> None:
    """A column of nulls alone is still a column of text, so tables of two runs can be concatenated."""
    assert list(ROW) == list(COLUMNS)
    write_episodes(tmp_path / "a.parquet", columns())
    write_episodes(tmp_path / "b.parquet", columns(answer="2"))
    assert read_episodes(tmp_path / "a.parquet") == columns()
    assert pq.read_schema(tmp_path / "a.parquet") == pq.read_schema(tmp_path / "b.parquet")
    write_episodes(tmp_path / "c.parquet", columns(score=0.5))
    assert read_episodes(tmp_path / "c.parquet")["score"] == [0.5]


def test_a_value_of_another_type_fails_at_the_writer(tmp_path: Path) -> None:
    with pytest.raises(pa.ArrowException):
        write_episodes(tmp_path / "a.parquet", columns(correct="yes"))
    with pytest.raises(ValueError, match="no column colour"):
        write_episodes(tmp_path / "a.parquet", columns(colour="red"))
    missing = columns()
    del missing["gold"]
    with pytest.raises(KeyError, match="gold"):
        write_episodes(tmp_path / "a.parquet", missing)
