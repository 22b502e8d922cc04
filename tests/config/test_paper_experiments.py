"""``experiment=paper_...``: what each takes from its paper, and that each runs: two rounds of it, with a small random
model of the same architecture, on files of the same format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from architectures import folder
from composed import ALGORITHMS, composed
from omegaconf import DictConfig, OmegaConf
from paper_data import data

from amend import cli
from amend.components import build_algorithm, build_components
from amend.config.compose import config_dir

FILES = sorted(path.stem for path in (config_dir() / "experiment").glob("paper_*.yaml"))
ARCHITECTURE = {
    "gemma-2-2b-it": "gemma2",
    "qwen2.5-7b": "qwen2",
    "qwen2.5-1.5b": "qwen2",
    "llama-2-7b": "llama",
    "pythia-410m": "gpt_neox",
}
SAYS = {  # figures that may be called a paper's, written down here a second time
    "paper_score_math": {
        "algo.shaping_coef": 10, "algo.beta1": 0.01, "algo.beta2": 0.1, "algo.lr": 5e-6, "algo.num_iterations": 3000,
        "task.source": "hendrycks", "eval.problems": 500, "policy.path": "google/gemma-2-2b-it",
    },
    "paper_score_humaneval": {
        "algo.shaping_coef": 10, "algo.beta1": 0.01, "algo.beta2": 0.25, "algo.lr": 1e-5,
        "algo.num_iterations": 1500, "task.shots": 3,
        "eval.problems": 164,
    },
    "paper_single_turn_math": {"algo.turns": 1, "algo.kl_coef": 0.01, "algo.lr": 5e-6, "dialogue.turns": 2},
    "paper_multi_turn_math": {"algo.turns": 2, "algo.kl_coef": 0.01, "algo.lr": 5e-6, "algo.reward_turns": "last"},
    "paper_star_math": {"algo.iterations": 3, "algo.init_from": "base"},
    "paper_pair_sft_math": {"algo.iterations": 1},
    "paper_self_consistency_math": {"algo.num_votes": 32, "algo.temperature": 0.7},
    "paper_grpo_math": {"algo.lr": 1e-6, "algo.kl_coef": 0.04, "algo.group_size": 64, "algo.max_tokens": 1024},
    "paper_grpo_gsm8k": {"algo.lr": 1e-6, "algo.kl_coef": 0.04, "algo.group_size": 64, "algo.num_minibatches": 1},
    "paper_reinforce_math": {"algo.lr": 1e-6, "algo.groups_per_batch": 256, "algo.group_size": 8, "algo.kl_coef": 0},
    "paper_pag_score_math": {
        "algo.shaping_coef": 1, "algo.lr": 1e-6, "algo.groups_per_batch": 512, "algo.group_size": 4,
        "algo.num_iterations": 586,
        "algo.stage1_iterations": 293,
    },
    "paper_sft_algorithmic": {
        "algo.lr": 1e-4, "algo.warmup_steps": 100, "algo.weight_decay": 0.01, "policy.path": "EleutherAI/pythia-410m",
        "task.train": 20000,
    },
    "paper_dpo_gsm8k": {"algo.beta": 0.1, "algo.lr": 5e-7, "algo.warmup_steps": 150},
    "paper_untrained_math": {"task.source": "hendrycks", "task.validation": 0, "eval.problems": 500},
    "paper_untrained_humaneval": {"eval.problems": 164, "task.shots": 3},
    "paper_self_refine_math": {"dialogue.name": "self_refine", "eval.problems": 500},
    "paper_self_refine_humaneval": {"dialogue.name": "self_refine", "eval.problems": 164},
    "paper_best_of_n_math": {"algo.n": 32, "algo.temperature": 0.7},
    "paper_pair_sft_humaneval": {"algo.iterations": 1, "algo.keep_correct": False, "eval.problems": 164},
    "paper_expert_iteration_gsm8k": {
        "algo.group_size": 96, "algo.iterations": 5, "algo.init_from": "base", "temperature.value": [0.7],
        "init.name": "sft",
        "policy.path": "meta-llama/Llama-2-7b-hf", "eval.pass_at_k_samples": 96,
    },
    "paper_ppo_gsm8k": {"algo.kl_coef": 0.05, "temperature.value": [0.7], "init.name": "sft",
    "eval.pass_at_k_samples": 96},
    "paper_rcrl_gsm8k": {"algo.tags": "steps", "temperature.value": [0.7], "init.name": "sft",
    "eval.pass_at_k_samples": 96},
    "paper_sft_gsm8k": {"algo.update_epochs": 2, "algo.groups_per_batch": 7473,
    "policy.path": "meta-llama/Llama-2-7b-hf"},
    "paper_rloo_math": {"algo.kl_coef": 0.03, "algo.lr": 1e-6, "algo.group_size": 4, "algo.num_minibatches": 2},
}  # fmt: skip
TASKS = {  # each algorithm's recipes
    "best_of_n": {"math"}, "dpo": {"gsm8k"}, "expert_iteration": {"gsm8k"}, "grpo": {"math", "gsm8k"},
    "multi_turn": {"math"}, "pair_sft": {"math", "humaneval"}, "ppo": {"gsm8k"}, "rcrl": {"gsm8k"},
    "reinforce": {"math"}, "rloo": {"math"}, "score": {"math", "humaneval"}, "self_consistency": {"math"},
    "self_refine": {"math", "humaneval"}, "sft": {"algorithmic", "gsm8k"}, "single_turn": {"math"}, "star": {"math"},
    "untrained": {"math", "humaneval"},
}  # fmt: skip
BATCH = {
    "paper_score_math": 512,
    "paper_multi_turn_math": 512,
    "paper_single_turn_math": 512,
    "paper_grpo_math": 1024,
    "paper_score_humaneval": 128,
    "paper_rloo_math": 512,
    "paper_reinforce_math": 2048,
}


@pytest.mark.parametrize("name", FILES)
def test_it_says_what_the_paper_says(name: str) -> None:
    cfg = composed(f"experiment={name}")
    for key, value in SAYS[name].items():
        assert OmegaConf.select(cfg, key) == value, key
    if name in BATCH:
        assert cfg.algo.groups_per_batch * cfg.algo.group_size == BATCH[name]


@pytest.mark.parametrize("words", [("experiment=paper_score_math",), ("scale=paper", "task=math"), ("scale=paper",)])
def test_the_prompts_of_score_word_for_word(words: tuple[str, ...]) -> None:
    cfg = composed(*words)
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


def test_every_algorithm_has_its_recipes_and_none_is_missing() -> None:
    assert set(TASKS) == set(ALGORITHMS)
    named: dict[str, set[str]] = {name: set() for name in ALGORITHMS}
    for name in FILES:
        cfg = composed(f"experiment={name}")
        named[cfg.algo.name].add(cfg.task.name)
        assert cfg.algo.name in name and name.endswith(cfg.task.name)
    assert named == TASKS


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(("gsm8k", "math"))])
def test_a_recipe_withholds_no_training_problem_and_evaluates_all(name: str) -> None:
    cfg = composed(f"experiment={name}")
    assert (cfg.task.validation, cfg.eval.problems) == (0, 1319 if cfg.task.name == "gsm8k" else 500)


@pytest.mark.parametrize("task", ["math", "gsm8k", "humaneval", "mbpp"])
def test_one_word_is_the_papers_values_for_each_task(task: str) -> None:
    """``scale=paper`` alone: SCoRe's split, and for programs its other column of Table 5."""
    cfg = composed("scale=paper", f"task={task}", "algo=score")
    values = (cfg.algo.lr, cfg.algo.num_iterations, cfg.algo.groups_per_batch * cfg.algo.group_size, cfg.algo.beta2)
    programs = task in ("humaneval", "mbpp")
    assert values == ((1e-5, 1500, 128, 0.25) if programs else (5e-6, 3000, 512, 0.1))
    assert cfg.algo.stage1_iterations == cfg.algo.num_iterations // 2
    assert cfg.eval.problems == {"math": 500, "gsm8k": 1319, "humaneval": 164, "mbpp": 500}[task]
    assert programs or cfg.task.validation == 0


@pytest.mark.parametrize("task", ["mbpp", "humaneval"])
def test_programs_are_corrected_in_the_words_for_programs(task: str) -> None:
    hf = ("policy=hf", "policy.path=owner/model", "algo.max_tokens=512", "algo.lr=1e-6")
    for scale in ("laptop", "paper"):
        said = composed(f"task={task}", f"scale={scale}", *hf).dialogue.instruction
        assert said.startswith("# There might be an error in the code above")
    assert composed(f"task={task}", "dialogue=self_correct", *hf).dialogue.instruction.startswith("There might")
    assert composed(f"task={task}", "algo=self_refine", *hf[:3]).dialogue.name == "self_refine"


def small(name: str, tmp_path: Path, *more: str) -> DictConfig:
    """The recipe, its model and data in small, its rounds two."""
    whole = composed(f"experiment={name}")
    model = folder(ARCHITECTURE[whole.policy.name], tmp_path / "model")
    learns = "num_iterations" in whole.algo
    loop = [
        "algo.num_iterations=2",
        "algo.groups_per_batch=2",
        *([] if whole.algo.name == "sft" else ["algo.group_size=2"]),
    ]
    fits = ["algo.iterations=1", "algo.num_minibatches=2", "algo.update_epochs=1"] if "iterations" in whole.algo else []
    once = ["algo.num_minibatches=1"] if learns and "iterations" not in whole.algo else []
    stages = ["algo.stage1_iterations=1"] if "stage1_iterations" in whole.algo else []
    made_up = "source" not in whole.task
    rows = tmp_path if made_up else data(whole.task.name, tmp_path / "data")
    taught = ["init.problems=2", "init.num_minibatches=1", "init.update_epochs=1"] if whole.init.name == "sft" else []
    of = {"humaneval": [f"task.source={rows}", f"task.train={rows}"], "algorithmic": ["task.train=20", "task.test=4"]}
    return composed(
        f"experiment={name}", f"policy.path={model}", *of.get(whole.task.name, [f"task.source={rows}"]),
        "task.validation=2", "algo.max_tokens=8", "eval.problems=2", "eval.samples=0", "eval.pass_at_k_samples=0",
        "eval.pass_at_k_problems=1", "trainer.threads=1", "logger=none", f"runs_dir={tmp_path / 'runs'}",
        *(loop if learns else []), *fits, *once, *stages, *taught, *more,
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
    assert cli.run_job(cfg) == 0
    (run,) = (path.parent for path in (tmp_path / "runs").glob("*/*/*/summary.json"))
    assert json.loads((run / "summary.json").read_text())["trained"]["n"] == 2
    if "num_iterations" in cfg.algo:
        assert len((run / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_recipe_with_a_low_rank_update(tmp_path: Path) -> None:
    cfg = small(
        "paper_score_math", tmp_path, "tuning=lora", "policy.dtype=bfloat16", "policy.gradient_checkpointing=true"
    )
    made = build_components(cfg)
    assert build_algorithm(cfg, made).policy.adapter is not None
    assert cli.run_job(cfg) == 0
