"""Every file in conf/ not only composes: what it describes is built, down to the learner and its optimizer.

Models from the hub are small random ones of the same architecture here, and data sets a dozen rows in the same format
(the papers' recipes, which are even run: test_paper). What needs something that is not there (a trained reward model, a
server, a sandbox) must say the command that brings it.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from architectures import folder
from composed import composed
from config_files import FILES, NEEDED, PARTS
from hydra.utils import get_object
from omegaconf import DictConfig
from paper_data import data

from amend.components import build_algorithm, build_components, to_kwargs
from amend.config.compose import config_dir
from amend.errors import UserError

FAMILY = {"gemma": "gemma2", "qwen3": "qwen3", "llama": "llama", "pythia": "gpt_neox"}  # others: qwen2
REFUSED = {  # what needs something that may not be here, and the command that brings it
    "logger/trackio": r'pip install "amend\[trackio\]"',
    "reward/orm": r"python run\.py job=train_orm orm\.path=runs/orm",
    "reward/orm_dense": r"python run\.py job=train_orm orm\.path=runs/orm",
    "reward/sorm": r"python run\.py job=train_orm orm\.path=runs/sorm",
    "task/humaneval": r"apt-get install bubblewrap",
    "task/mbpp": r"apt-get install bubblewrap",
    "trainer/gpu": r"torch sees no GPU",
}
ROWS: dict[str, dict[str, Any]] = {
    "choice": {"question": "Which?", "choices": {"label": ["A", "B"], "text": ["this", "that"]}, "answerKey": "A"},
    "strategyqa": {"question": "Is it?", "answer": True, "facts": "It is."},
    "custom": {"question": "Which?", "answer": "this"},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: folder(name, tmp_path_factory.mktemp(name)) for name in ("qwen2", "qwen3", "gemma2", "llama", "gpt_neox")
    }


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    made = {name: data(name, root / name) for name in ("math", "gsm8k", "humaneval")}
    made["mbpp"] = made["humaneval"]
    for name, row in ROWS.items():
        (root / name).mkdir()
        for split, count in (("train", 12), ("test", 4)):
            lines = [json.dumps({**row, "question": f"{split} {i}: {row['question']}"}) + "\n" for i in range(count)]
            (root / name / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
        made[name] = root / name
    return made


def small(words: list[str], models: dict[str, Path], tables: dict[str, Path]) -> DictConfig:
    """The configuration with a small model and a dozen rows where it would ask the hub for large ones."""
    cfg = composed(*words)
    words = [*words, "trainer.threads=1"]
    if cfg.task.get("source", "builtin") == "builtin" and "test" in cfg.task:  # made up, one by one
        words += ["task.test=16", "eval.problems=16", "eval.pass_at_k_problems=16"]
    if cfg.policy.path != "builtin":
        family = next((kind for start, kind in FAMILY.items() if cfg.policy.name.startswith(start)), "qwen2")
        words += [f"policy.path={models[family]}", "algo.max_tokens=8"]
    if cfg.task.get("source", "builtin") != "builtin" and cfg.task.name in tables:
        words += [f"task.source={tables[cfg.task.name]}", "task.validation=2"]
        words += [f"task.train={tables['mbpp']}"] * (cfg.task.name == "humaneval")
        words += ["task.shots=0"] * (cfg.task.name == "mbpp")  # its three examples are longer than a small window
    return composed(*words)


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("experiment/paper_")])
def test_what_a_file_describes_is_built(name: str, models: dict[str, Path], tables: dict[str, Path]) -> None:
    group, choice = name.split("/")
    words = [f"{group}={choice}", *NEEDED.get(name, [])]
    try:
        cfg = small(words, models, tables)
        made = build_components(cfg)
        learner = build_algorithm(cfg, made)
    except UserError as refused:
        if name in REFUSED and re.search(REFUSED[name], str(refused)):
            return
        raise
    if learner.num_iterations:
        assert learner.configure_optimizers().param_groups[0]["params"]
    logger = get_object(cfg.logger._target_)
    inspect.signature(logger).bind_partial(**to_kwargs(cfg.logger))


def test_nothing_in_conf_is_left_out() -> None:
    left = {path.parent.name for path in config_dir().rglob("*.yaml") if path.parent != config_dir()}
    assert left - {name.split("/")[0] for name in FILES} == set(PARTS)
