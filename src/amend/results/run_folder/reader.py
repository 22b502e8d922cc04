"""A run folder as it stands, finished or not: whatever is missing or half written is simply not there yet.

A run that was killed may lack summary.json, may hold only the base model's episodes, and the last line of its
metrics.jsonl may be cut in the middle. All of that is read as far as it goes.
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

SUMMARY_ALERTS = {
    "truncated": "clip_ratio",
    "zero_variance": "frac_reward_zero_std",
    "unedited": "unedited",
    "lost_reach": "sampling_efficiency_gap",
}
MARKS = ("versions.json", "summary.json")  # files that make a folder a run's


@dataclass(frozen=True)
class Run:
    """What a run folder holds. Mappings and lists are empty where their file is missing."""

    folder: Path
    config: str
    versions: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]
    timing: tuple[Mapping[str, Any], ...]
    episodes: Columns
    summary: Mapping[str, Any]
    student: Mapping[str, Any] = field(default_factory=dict)


def read_run(folder: Path) -> Run:
    """Everything there is in ``folder``."""
    return Run(
        folder=folder,
        config=_text(folder / "config.yaml"),
        versions=_json(folder / "versions.json"),
        metrics=lines(folder / "metrics.jsonl"),
        timing=lines(folder / "timing.jsonl"),
        episodes=_episodes(folder / "episodes.parquet"),
        summary=_summary(folder / "summary.json"),
        student=_json(folder / "student.json"),
    )


def run_folders(given: Sequence[str]) -> list[Path]:
    """The run folders that paths and patterns lead to: a run folder itself, or all beneath another folder.

    UserError for one that leads to none.
    """
    found: dict[Path, None] = {}
    for word in given:
        places = [Path(path) for path in sorted(glob(str(Path(word).expanduser()), recursive=True))]  # noqa: PTH207
        here = [run for place in places for run in _beneath(place)]
        if not here:
            what = "no run folder beneath it" if places else "there is nothing at that path"
            raise UserError(
                f"runs={word}: {what}; allowed: run folders, folders that hold some, patterns as runs/*/*/*"
            )
        found |= dict.fromkeys(here)
    return list(found)


def _beneath(place: Path) -> list[Path]:
    if any((place / name).is_file() for name in MARKS):
        return [place]
    return sorted({path.parent for name in MARKS for path in place.rglob(name)}) if place.is_dir() else []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(_text(path) or "{}")
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def lines(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The whole lines of a JSONL file; reading ends at the first that is not."""
    rows: list[Mapping[str, Any]] = []
    for line in _text(path).splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if isinstance(row, dict):
            rows.append(_current_names(row))
    return tuple(rows)


def _current_names(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of metrics.jsonl or timing.jsonl under today's metric names. Older versions wrote other names."""
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
        new.setdefault(name.replace("accuracy", "reward"), new[name])  # written only where it differed
    return new


def _summary(path: Path) -> Mapping[str, Any]:
    """Return summary.json under today's names."""
    summary = dict(_json(path))
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


def _episodes(path: Path) -> Columns:
    """The table of episodes as columns, all of them, empty where there is no readable file."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    try:
        columns.update(read_episodes(path))
    except (OSError, ArrowException):
        return columns
    return columns
