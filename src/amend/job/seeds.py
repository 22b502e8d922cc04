"""job=seeds: pool the finished runs of one configuration over all seeds, and print the table."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from amend.results.report.terminal.tables import print_table, seeds_table
from amend.results.run_folder.naming import FINISHED, config_hash, run_path


def run(cfg: DictConfig) -> int:
    """Print the table of all seeds of this configuration, from the folders of its finished runs."""
    trained = OmegaConf.merge(cfg, {"job": "train"})
    assert isinstance(trained, DictConfig)
    newest: dict[str, Path] = {}  # counts a seed once if it was run again
    for marker in sorted(run_path(trained).parent.glob(f"{config_hash(trained)}-s*/{FINISHED}"), key=modification_time):
        newest[marker.parent.name.split("-")[1]] = marker.parent
    print_table(seeds_table(list(newest.values()), f"{cfg.algo.name} on {cfg.task.name}, {len(newest)} seeds"))
    return 0


def modification_time(path: Path) -> int:
    """Return the modification time of a file in nanoseconds."""
    return path.stat().st_mtime_ns
