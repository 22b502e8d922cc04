"""Read a run folder, finished or not. A missing or incomplete file is read as an empty value.

The folder of a killed run may lack summary.json, and its episodes.parquet may hold only the episodes of the base model.
The last line of its metrics.jsonl may be incomplete; all lines before it are read. Files of older versions are
converted to the current names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Any

from pyarrow import ArrowException

from amend.config.renamed import METRICS
from amend.errors import UserError
from amend.results.metrics.episode_table import COLUMNS, Columns
from amend.results.run_folder.episode_file import read_episodes

# Names of alerts in summary.json of older versions, with the current names.
SUMMARY_ALERTS = {
    "truncated": "clip_ratio",
    "zero_variance": "frac_reward_zero_std",
    "unedited": "unedited",
    "lost_reach": "sampling_efficiency_gap",
}
MARKS = ("versions.json", "summary.json")  # a folder with one of these files is a run folder


@dataclass(frozen=True)
class Run:
    """The content of a run folder. A field is empty if its file is missing."""

    folder: Path
    """The path of the folder."""
    config: str
    """The text of config.yaml."""
    versions: Mapping[str, Any]
    """versions.json."""
    metrics: tuple[Mapping[str, Any], ...]
    """The lines of metrics.jsonl."""
    timing: tuple[Mapping[str, Any], ...]
    """The lines of timing.jsonl."""
    episodes: Columns
    """The columns of episodes.parquet."""
    summary: Mapping[str, Any]
    """summary.json."""
    student: Mapping[str, Any] = field(default_factory=dict)
    """student.json."""


def read_run(folder: Path) -> Run:
    """Read all files of a run folder.

    Args:
        folder: The path of the folder, which may belong to an unfinished run.

    Returns:
        The content, under the current names of keys and metrics.
    """
    return Run(
        folder=folder,
        config=_read_text(folder / "config.yaml"),
        versions=_read_json(folder / "versions.json"),
        metrics=lines(folder / "metrics.jsonl"),
        timing=lines(folder / "timing.jsonl"),
        episodes=_read_episode_columns(folder / "episodes.parquet"),
        summary=_read_summary(folder / "summary.json"),
        student=_read_json(folder / "student.json"),
    )


def run_folders(given: Sequence[str]) -> list[Path]:
    """Find run folders by paths and glob patterns.

    Args:
        given: Paths or patterns of run folders, or of folders that contain run folders at any depth.

    Returns:
        The run folders, each once.

    Raises:
        UserError: If a path or pattern matches no run folder.
    """
    folders: dict[Path, None] = {}
    for pattern in given:
        paths = [Path(path) for path in sorted(glob(str(Path(pattern).expanduser()), recursive=True))]  # noqa: PTH207
        matches = [run for path in paths for run in _find_run_folders(path)]
        if not matches:
            reason = "no run folder in it" if paths else "no such path"
            raise UserError(
                f"runs={pattern}: {reason}; allowed: run folders, folders that contain run folders, "
                "patterns such as runs/*/*/*"
            )
        folders |= dict.fromkeys(matches)
    return list(folders)


def _find_run_folders(path: Path) -> list[Path]:
    """Return ``path`` if it is a run folder, otherwise all run folders in it."""
    if any((path / name).is_file() for name in MARKS):
        return [path]
    return sorted({file.parent for name in MARKS for file in path.rglob(name)}) if path.is_dir() else []


def _read_text(path: Path) -> str:
    """Return the text of a file; an empty text if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _read_json(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in a file; an empty one if it cannot be read."""
    try:
        value = json.loads(_read_text(path) or "{}")
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def lines(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Read the lines of a JSONL file up to the first incomplete line."""
    rows: list[Mapping[str, Any]] = []
    for line in _read_text(path).splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if isinstance(row, dict):
            rows.append(_current_names(row))
    return tuple(rows)


def _current_names(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of metrics.jsonl or timing.jsonl under the current metric names, if an older version wrote it."""
    if "round" not in row:
        return row
    new: dict[str, Any] = {}
    for name, value in row.items():
        turn = re.fullmatch(r"(reward|paid)_t(\d+)", name)
        if turn:
            new[f"{'accuracy' if turn[1] == 'reward' else 'reward'}_t{turn[2]}"] = value
        else:
            new[METRICS.get(name, name)] = value
    for name in [name for name in new if name.startswith("accuracy_t")]:
        # Older versions wrote the reward only if it differed from the accuracy.
        new.setdefault(name.replace("accuracy", "reward"), new[name])
    return new


def _read_summary(path: Path) -> Mapping[str, Any]:
    """Return summary.json under the current names."""
    summary = dict(_read_json(path))
    for old, name in (("alarms", "alerts"), ("lost_reach", "sampling_efficiency_gap")):
        if old in summary:
            summary[name] = summary.pop(old)
    for alert in summary.get("alerts", []):
        if isinstance(alert, dict) and "round" in alert:
            alert["iteration"] = alert.pop("round")
            alert["name"] = SUMMARY_ALERTS.get(str(alert.get("name")), alert.get("name"))
    cost = summary.get("cost")
    if isinstance(cost, dict) and "updates" in cost:
        summary["cost"] = {("optimizer_steps" if key == "updates" else key): value for key, value in cost.items()}
    return summary


def _read_episode_columns(path: Path) -> Columns:
    """Return all columns of the episode table. They are empty if the file cannot be read."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    try:
        columns.update(read_episodes(path))
    except (OSError, ArrowException):
        return columns
    return columns
