"""Cache the evaluation of the base model in the runs folder, for every run that would repeat it.

A comparison of seventeen algorithms over three seeds evaluates the same base model 51 times. The answers depend on the
weights, the task, the dialogue, the sampling, the code and the machine, and not on the seed of the run
(``evaluate.EVALUATION_SEED``). The key of the cache is a hash of all of these, so no stale table is read. The seconds
of the evaluation are cached with the table, and every run that reads it counts them, so that costs are comparable.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig, OmegaConf

from amend.distributed import collectives
from amend.policy.policy import Policy
from amend.results.run_folder.atomic_files import atomic_write
from amend.results.run_folder.episode_file import to_arrow
from amend.results.run_folder.provenance import cpu

Columns = dict[str, list[Any]]
DECIDING = (
    "policy",
    "task",
    "dialogue",
    "eval",
    "rollout",
    "trainer",
)  # configuration groups that change the evaluation
SECONDS = b"seconds"

DECIDING_MODULES = ("dialogue", "evaluation", "exploration", "ops", "policy", "rollout", "task", "types")


def cached_base_evaluation(cfg: DictConfig, policy: Policy, measure: Callable[[], Columns]) -> tuple[Columns, float]:
    """Return the evaluation of the base model and its seconds, from the cache if it has them.

    Args:
        cfg: The configuration of the run.
        policy: The base model.
        measure: Evaluates the base model.

    Returns:
        The columns of the episode table, and the seconds of the evaluation, now or when it was cached.
    """
    if cfg.eval.reranker:  # a reranker in the same folder may have been retrained
        start = time.perf_counter()
        return measure(), time.perf_counter() - start
    path = Path(cfg.runs_dir) / ".base" / f"{cache_key(cfg, policy)}.parquet"
    if cached := collectives.run_on_rank_zero(lambda: read_cache(path)):
        return cached
    start = time.perf_counter()
    columns = measure()
    seconds = time.perf_counter() - start
    collectives.run_on_rank_zero(lambda: write_cache(path, columns, seconds))
    return columns, seconds


def read_cache(path: Path) -> tuple[Columns, float] | None:
    """Return the columns and seconds of a cache file, or None if it does not exist."""
    if not path.is_file():
        return None
    table = pq.read_table(path)
    return table.to_pydict(), float(table.schema.metadata[SECONDS])


def write_cache(path: Path, columns: Columns, seconds: float) -> None:
    """Write a cache file atomically."""
    table = to_arrow(columns).replace_schema_metadata({SECONDS: str(seconds)})
    atomic_write(path, lambda temporary: pq.write_table(table, temporary))


def cache_key(cfg: DictConfig, policy: Policy) -> str:
    """Return a hash, in sixteen hex digits, of everything that changes the evaluation of the base model."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    digest = hashlib.sha256()
    settings = {group: config[group] for group in DECIDING} | {"max_tokens": cfg.algo.max_tokens}
    digest.update(json.dumps([settings, cpu(), torch.__version__, torch.get_num_threads()], sort_keys=True).encode())
    for path in _deciding_sources():
        digest.update(path.read_bytes())
    for name, value in sorted((*policy.lm.named_parameters(), *policy.lm.named_buffers())):
        if "lora_" not in name:  # a new adapter does not change the outputs
            digest.update(name.encode())
            value = collectives.full_tensor(value.detach())
            digest.update(value.cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    if cfg.eval.reranker:  # the table contains the scores of the reranker
        for path in sorted(Path(cfg.eval.reranker).expanduser().glob("*")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _deciding_sources() -> list[Path]:
    """Return the source files of the modules that decide what the base model answers and whether it is correct."""
    package = Path(__file__).parents[1]
    files = [path for name in DECIDING_MODULES for path in (package / name).rglob("*.py")]
    return sorted(
        [*files, *(package / f"{name}.py" for name in DECIDING_MODULES if (package / f"{name}.py").is_file())]
    )
