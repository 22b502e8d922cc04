"""job=doctor: check whether a model, its chat template and a task are fit to train."""

from __future__ import annotations

import time

from omegaconf import DictConfig

from amend.training.preflight import run_checks


def run(cfg: DictConfig) -> int:
    """Prints the findings as they come; 0 where all are ok, else 1."""
    began, bad, count = time.perf_counter(), 0, 0
    for finding in run_checks(cfg):
        print(finding, flush=True)
        bad, count = bad + (not finding.ok), count + 1
    print(f"{count - bad} ok, {bad} to change, {time.perf_counter() - began:.0f} s")
    return int(bad > 0)
