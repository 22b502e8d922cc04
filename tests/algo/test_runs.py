"""Every algorithm by its one word, ``python run.py algo=X task=math``: it leaves a whole run folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from composed import ALGORITHMS, PROMPTING
from forked import Forked

ROOT = Path(__file__).parents[2]
SMALL = ["task=math", "scale=smoke", "debug=fast", "task.test=8", "trainer.threads=1", "logger=none"]
FILES = ("config.yaml", "versions.json", "episodes.parquet", "summary.json", "report.html")
TRAINING = ("metrics.jsonl", "timing.jsonl", "checkpoints/last.ckpt")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_is_one_word(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    runs = tmp_path_factory.getbasetemp() / "algorithms"  # one for all: who has the same base model measures it once
    words = [f"algo={name}", *SMALL, f"runs_dir={runs}"]
    run = Forked(words, ROOT, {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})
    out, err = run.communicate()
    assert run.poll() == 0, err
    (folder,) = runs.glob(f"math/{name}/*")
    for file in (*FILES, *(() if name in PROMPTING else TRAINING)):
        assert (folder / file).stat().st_size > 0, file
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["algo"] == name and summary["trained"]["n"] == 8
    assert str(folder / "report.html") in out
    assert (summary["cost"]["sampled_tokens"] > 0) == (name not in (*PROMPTING, "sft"))
