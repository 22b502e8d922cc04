"""``experiment=paper_...``: what each takes from its paper, and that each runs: two rounds of it, with a small random
model of the same architecture, on files of the same format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from amend import train
from amend.build import algorithm_of, house
from amend.config import conf
from architectures import folder
from composed import ALGORITHMS, composed

FILES = sorted(path.stem for path in (conf() / "experiment").glob("paper_*.yaml"))
ARCHITECTURE = {
    "gemma-2-2b-it": "gemma2",
    "qwen2.5-7b": "qwen2",
    "qwen2.5-1.5b": "qwen2",
    "llama-2-7b": "llama",
    "pythia-410m": "gpt_neox",
}
SAYS = {  # figures that may be called a paper's, written down here a second time
    "paper_score_math": {
        "algo.alpha": 10, "algo.beta1": 0.01, "algo.beta2": 0.1, "algo.lr": 5e-6, "algo.rounds": 3000,
        "task.source": "hendrycks", "eval.problems": 500, "policy.path": "google/gemma-2-2b-it",
    },
    "paper_score_humaneval": {
        "algo.alpha": 10, "algo.beta1": 0.01, "algo.beta2": 0.25, "algo.lr": 1e-5, "algo.rounds": 1500, "task.shots": 3,
        "eval.problems": 164,
    },
    "paper_single_turn_math": {"algo.turns": 1, "algo.beta": 0.01, "algo.lr": 5e-6, "dialogue.turns": 2},
    "paper_multi_turn_math": {"algo.turns": 2, "algo.beta": 0.01, "algo.lr": 5e-6, "algo.paid": "last"},
    "paper_star_math": {"algo.iterations": 3, "algo.begin": "base"},
    "paper_pair_sft_math": {"algo.iterations": 1},
    "paper_self_consistency_math": {"algo.votes": 32, "algo.heat": 0.7},
    "paper_grpo_math": {"algo.lr": 1e-6, "algo.beta": 0.04, "algo.samples": 64, "algo.max_tokens": 1024},
    "paper_grpo_gsm8k": {"algo.lr": 1e-6, "algo.beta": 0.04, "algo.samples": 64, "algo.updates": 1},
    "paper_reinforce_math": {"algo.lr": 1e-6, "algo.problems": 256, "algo.samples": 8, "algo.beta": 0},
    "paper_pag_score_math": {"algo.alpha": 1, "algo.lr": 1e-6, "algo.problems": 512, "algo.samples": 4},
    "paper_sft_algorithmic": {"algo.lr": 1e-4, "policy.path": "EleutherAI/pythia-410m", "task.train": 20000},
    "paper_dpo_gsm8k": {"algo.beta": 0.1, "algo.lr": 5e-7},
}  # fmt: skip
BATCH = {
    "paper_score_math": 512,
    "paper_multi_turn_math": 512,
    "paper_single_turn_math": 512,
    "paper_grpo_math": 1024,
    "paper_score_humaneval": 128,
}


@pytest.mark.parametrize("name", SAYS)
def test_it_says_what_the_paper_says(name: str) -> None:
    cfg = composed(f"experiment={name}")
    for key, value in SAYS[name].items():
        assert OmegaConf.select(cfg, key) == value, key
    if name in BATCH:
        assert cfg.algo.problems * cfg.algo.samples == BATCH[name]


def test_the_prompts_of_score_word_for_word() -> None:
    cfg = composed("experiment=paper_score_math")
    assert cfg.task.prompt == (
        "You are a math expert. When you respond, respond only with the Solution of the final Problem, thinking step "
        'by step. At the end of the Solution, when you give your final answer, write it in the form "Final Answer: '
        'The final answer is $answer$. I hope it is correct."\n\n{question}'
    )
    assert cfg.dialogue.instruction == (
        "There might be an error in the solution above because of lack of understanding of the question. Please "
        "correct the error, if any, and rewrite the solution. Only output the final solution! At the end of the "
        'Solution, when you give your final answer, write it in the form "Final Answer: The final answer is '
        '$answer$. I hope it is correct."'
    )


def test_every_algorithm_has_a_recipe() -> None:
    assert {composed(f"experiment={name}").algo.name for name in FILES} == set(ALGORITHMS)


def programs(path: Path) -> Path:
    """Programs to write, in the formats of MBPP and HumanEval."""

    def row(number: int) -> dict[str, Any]:
        return {
            "task_id": number, "text": f"Write a function that adds {number}.", "test_setup_code": "",
            "code": f"def add(x):\n    return x + {number}", "test_list": [f"assert add(1) == {number + 1}"],
            "challenge_test_list": [],
        }  # fmt: skip

    asked = {
        "task_id": "HumanEval/0", "prompt": 'def one():\n    """One."""\n', "canonical_solution": "    return 1\n",
        "test": "def check(candidate):\n    assert candidate() == 1\n", "entry_point": "one",
    }  # fmt: skip
    for name, rows in (
        ("mbpp.jsonl", [row(number) for number in (2, 3, 4, 11, 12, 511, 512, 601, 602, 603)]),
        ("HumanEval.jsonl", [{**asked, "task_id": f"HumanEval/{i}"} for i in range(2)]),
    ):
        (path / name).write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def data(task: str, path: Path) -> Path:
    """A dozen problems in the format of the data set."""
    path.mkdir()
    if task == "humaneval":
        return programs(path)
    for name, count in (("train.jsonl", 12), ("test.jsonl", 4)):
        rows: list[dict[str, Any]] = []
        for i in range(count):
            question = f"{name}: what is {i} + {i}?"
            if task == "math":
                solution = f"It is \\boxed{{{2 * i}}}."
                rows.append({"problem": question, "level": "Level 1", "type": "Algebra", "solution": solution})
            else:
                rows.append({"question": question, "answer": f"It is <<{i}+{i}={2 * i}>>{2 * i}.\n#### {2 * i}"})
        (path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def small(name: str, tmp_path: Path, *more: str) -> DictConfig:
    """The recipe, its model and data in small, its rounds two."""
    whole = composed(f"experiment={name}")
    model = folder(ARCHITECTURE[whole.policy.name], tmp_path / "model")
    learns = "rounds" in whole.algo
    loop = ["algo.rounds=2", "algo.problems=2", *([] if whole.algo.name == "sft" else ["algo.samples=2"])]
    fits = ["algo.iterations=1", "algo.updates=2", "algo.epochs=1"] if "iterations" in whole.algo else []
    once = ["algo.updates=1"] if learns and "iterations" not in whole.algo else []
    stages = ["algo.stage1_rounds=1"] if "stage1_rounds" in whole.algo else []
    made_up = "source" not in whole.task
    rows = tmp_path if made_up else data(whole.task.name, tmp_path / "data")
    of = {"humaneval": [f"task.source={rows}", f"task.train={rows}"], "algorithmic": ["task.train=20", "task.test=4"]}
    return composed(
        f"experiment={name}", f"policy.path={model}", *of.get(whole.task.name, [f"task.source={rows}"]),
        "task.validation=2", "algo.max_tokens=8", "eval.problems=2", "eval.samples=0", "eval.wide=0",
        "eval.wide_problems=1", "trainer.threads=1", "logger=none", f"runs_dir={tmp_path / 'runs'}",
        *(loop if learns else []), *fits, *once, *stages, *more,
    )  # fmt: skip


def needs_a_sandbox(name: str) -> Any:
    """Programs are run in bubblewrap; where there is none, these are left out, and the reason is told."""
    missing = name.endswith("humaneval") and shutil.which("bwrap") is None
    return pytest.param(
        name, marks=pytest.mark.skipif(missing, reason="no bwrap; enable with: apt-get install bubblewrap")
    )


@pytest.mark.parametrize("name", [needs_a_sandbox(name) for name in FILES])
def test_it_runs_two_rounds_in_small(name: str, tmp_path: Path) -> None:
    cfg = small(name, tmp_path)
    assert train.main(cfg) == 0
    (run,) = (path.parent for path in (tmp_path / "runs").glob("*/*/*/summary.json"))
    assert json.loads((run / "summary.json").read_text())["trained"]["n"] == 2
    if "rounds" in cfg.algo:
        assert len((run / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_recipe_with_a_low_rank_update(tmp_path: Path) -> None:
    cfg = small(
        "paper_score_math", tmp_path, "tuning=lora", "policy.dtype=bfloat16", "policy.gradient_checkpointing=true"
    )
    made = house(cfg)
    assert algorithm_of(cfg, made).policy.adapter is not None
    assert train.main(cfg) == 0
