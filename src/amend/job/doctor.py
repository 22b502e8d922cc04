"""job=doctor: check a model, its chat template and a task before training."""

from __future__ import annotations

import time

from omegaconf import DictConfig

from amend.training.preflight import run_checks


def run(cfg: DictConfig) -> int:
    """Print the result of each check.

    Returns:
        The exit status: 0 if all checks pass, else 1.
    """
    start, failures, count = time.perf_counter(), 0, 0
    for result in run_checks(cfg):
        print(result, flush=True)
        failures, count = failures + (not result.ok), count + 1
    print(f"{count - failures} ok, {failures} to change, {time.perf_counter() - start:.0f} s")
    return int(failures > 0)
