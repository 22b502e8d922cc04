"""How fast, against what: ``make benchmark`` prints four tables, each measured in this one process and run.

    engine   tokens/s of the local engine against transformers' ``generate``, same model, prompts and lengths
    round    a whole SCoRe round against the forward and backward passes inside it: what is left is what we add
    grpo     a GRPO round of ours against one of TRL's GRPOTrainer, same model, prompts, group size, lengths, one update
    metrics  every figure of a summary from a table of 100,000 episodes

Quote the ratios: times drift with the machine, and both sides of a ratio are timed in turn. This is no timed test.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from composed import composed
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM

from amend.cli import silence_libraries
from amend.components import Components, build_algorithm, build_components
from amend.policy.loading import BUILTIN
from amend.results.analysis.summary import summarise
from amend.results.metrics.episode_table import COLUMNS
from amend.training.problem_dataset import ProblemDataset
from amend.types import Problem, SamplingParams

REPEATS = 5
PAIRS = 15  # of calls in turn, a second or so each: the machine drifts less within a pair than between two halves
console = Console(width=110)


def config(*overrides: str) -> DictConfig:
    """The configuration a user would get, with these overrides."""
    return composed(*overrides, "logger=none")


def median(function: Callable[[], float], repeats: int = REPEATS) -> float:
    """The median of what ``function`` returns, a first call thrown away."""
    function()
    return statistics.median(function() for _ in range(repeats))


def clock(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came back."""
    began = time.perf_counter()
    found = function()
    return time.perf_counter() - began, found


def engine_table(made: Components, max_tokens: int) -> Table:
    """Sampling at temperature 1: 8 samples a problem, so the engine may share prefills, as it may in training. Beside
    it the same model as anyone would load it, with the attention it comes with. Calls of both take turns, and the ratio
    is the median of the pairs'."""
    stock = AutoModelForCausalLM.from_pretrained(BUILTIN).eval()
    table = Table("rows", "ours tokens/s", "generate tokens/s", "ratio", title="local engine against generate")
    policy, tokenizer = made.policy, made.policy.tokenizer
    engine = made.runner._engine
    for rows in (64, 256, 512):
        problems = made.task.problems("val")[: rows // 8]
        prompts = [
            policy.renderer.build_generation_prompt(made.task.render_prompt(p)) for p in problems for _ in range(8)
        ]
        engine.batch = rows
        width = max(map(len, prompts))
        padded = torch.tensor([[tokenizer.pad_token_id] * (width - len(p)) + list(p) for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        turn = iter(range(10**6))

        def ours() -> float:
            engine.sync_weights()
            seeds = [(next(turn), i) for i in range(rows)]
            seconds, replies = clock(lambda: engine.sample(prompts, SamplingParams(1.0, max_tokens), seeds))
            return sum(len(r.tokens) for r in replies) / seconds

        def theirs() -> float:
            torch.manual_seed(next(turn))
            seconds, out = clock(
                lambda: stock.generate(
                    padded,
                    attention_mask=mask,
                    do_sample=True,
                    temperature=1.0,
                    top_k=0,
                    top_p=1.0,
                    max_new_tokens=max_tokens,
                    pad_token_id=tokenizer.pad_token_id,
                )
            )
            drawn = out[:, width:]
            ended = (drawn == tokenizer.eos_token_id).cumsum(1)
            return float((ended - (drawn == tokenizer.eos_token_id).long() == 0).sum()) / seconds

        pairs = [(ours(), theirs()) for _ in range(PAIRS + 1)][1:]
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(one / two for one, two in pairs)
        table.add_row(str(rows), f"{mine:,.0f}", f"{other:,.0f}", f"{ratio:.2f}")
    return table


@contextmanager
def inside(made: Components) -> Iterator[dict[str, float]]:
    """Seconds spent in forward passes of either model, and in backward passes, while the block runs."""
    counters = {"forward": 0.0, "backward": 0.0}

    def timed(function: Callable[..., Any], key: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            seconds, found = clock(lambda: function(*args, **kwargs))
            counters[key] += seconds
            return found

        return run

    models = [made.policy.lm.base_model, made.policy.reference_lm.base_model]
    originals = [model.forward for model in models]
    backward = torch.Tensor.backward
    try:
        for model in models:
            model.forward = timed(model.forward, "forward")
        torch.Tensor.backward = timed(backward, "backward")  # type: ignore[method-assign]
        yield counters
    finally:
        for model, original in zip(models, originals, strict=True):
            model.forward = original
        torch.Tensor.backward = backward  # type: ignore[method-assign]


def trainable(cfg: DictConfig) -> tuple[Components, Any, Callable[[], list[Problem]]]:
    """A house, its algorithm ready to take steps outside a Trainer, and its next problems."""
    made = build_components(cfg)
    algorithm = build_algorithm(cfg, made)
    optimizer = algorithm.configure_optimizers()
    algorithm.optimizers = lambda: optimizer  # type: ignore[method-assign,assignment,return-value]
    rounds = ProblemDataset(made.task, algorithm)
    return made, algorithm, lambda: next(iter(rounds))


def round_table() -> Table:
    """SCoRe rounds of the laptop scale, Stage I and Stage II."""
    table = Table(
        "stage", "round s", "forward s", "backward s", "round / floor", title="a SCoRe round against its floor"
    )
    made, algorithm, problems = trainable(config("algo=score"))
    for stage, at in (("I", 0), ("II", algorithm.stage1_rounds)):
        found: list[tuple[float, float, float]] = []
        for _ in range(REPEATS + 1):
            algorithm.iteration = at
            with inside(made) as counters:
                seconds, _ = clock(lambda: algorithm.training_step(problems(), 0))
            found.append((seconds, counters["forward"], counters["backward"]))
        total, forward, back = (statistics.median(column) for column in zip(*found[1:], strict=True))
        table.add_row(stage, f"{total:.2f}", f"{forward:.2f}", f"{back:.2f}", f"{total / (forward + back):.2f}")
    return table


def grpo_table() -> Table:
    """64 problems x 8 samples, one turn, one update, no KL, both from the built-in model.

    TRL twice: as it comes, which is in bfloat16 and recomputes activations in the backward pass, and as we train here,
    in float32 with activations kept, which is the fastest it gets on a processor without bfloat16 units. Ours is timed
    before and after each of them, and a ratio is to these; and once in bfloat16, which ``policy.autocast=auto`` is not
    on a processor without AMX.
    """
    table = Table("", "round s", "ours is faster by", title="a GRPO round against TRL's GRPOTrainer")
    words = [
        "algo=grpo",
        "dialogue=single",
        "algo.groups_per_batch=64",
        "algo.group_size=8",
        "algo.kl_coef=0",
        "algo.turns=1",
    ]
    made, algorithm, problems = trainable(config(*words))
    _, rounded, more = trainable(config(*words, "policy.autocast=on"))

    def ours() -> list[float]:
        return [clock(lambda: algorithm.training_step(problems(), 0))[0] for _ in range(REPEATS)]

    ours()
    mine, rows = [ours()], []
    bfloat16 = median(lambda: clock(lambda: rounded.training_step(more(), 0))[0])
    same = {"bf16": False, "gradient_checkpointing": False}
    for name, machine in (("TRL as it comes", {}), ("TRL set as ours is", same)):
        theirs = trl_round(made, algorithm.max_tokens, use_cpu=True, **machine)
        mine.append(ours())
        around = statistics.median(mine[-2] + mine[-1])
        rows.append((name, f"{theirs:.2f}", f"{theirs / around:.2f}"))
    usual = statistics.median([s for each in mine for s in each])
    table.add_row("ours", f"{usual:.2f}")
    table.add_row("ours, policy.autocast=on", f"{bfloat16:.2f}", f"{bfloat16 / usual:.2f}")
    for row in rows:
        table.add_row(*row)
    return table


def trl_round(
    made: Components, max_tokens: int, problems: int = 64, samples: int = 8, repeats: int = REPEATS, **machine: Any
) -> float:
    """Median seconds of a GRPOTrainer step on the same model and problems; ``machine``: of its configuration."""
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    posed = list(made.task.problems("train")[: problems * (repeats + 2)])
    known = {p.question: p for p in posed}
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": p.question}], "q": p.question} for p in posed])

    def reward(completions: list[Any], q: list[str], **_: Any) -> list[float]:
        replies = zip(completions, q, strict=True)
        return [float(made.task.grade(known[question], said[0]["content"]).correct) for said, question in replies]

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.at = time.perf_counter()
            self.steps: list[float] = []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.at = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.steps.append(time.perf_counter() - self.at)

    watch = Clock()
    with tempfile.TemporaryDirectory() as folder:
        made.policy.lm.save_pretrained(folder)
        made.policy.tokenizer.save_pretrained(folder)
        trainer = GRPOTrainer(
            model=folder,
            reward_funcs=reward,
            args=GRPOConfig(
                output_dir=folder,
                **machine,
                per_device_train_batch_size=problems * samples,
                num_generations=samples,
                max_completion_length=max_tokens,
                steps_per_generation=1,
                num_iterations=1,
                beta=0.0,
                max_steps=repeats + 1,
                report_to=[],
                logging_steps=1000,
                save_strategy="no",
                disable_tqdm=True,
                learning_rate=1.2e-4,
            ),
            train_dataset=rows,
            processing_class=made.policy.tokenizer,
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return statistics.median(watch.steps[1:])


def metric_table() -> Table:
    """1,000 problems x 100 first attempts, in the manner of the built-in model's: half are right, the others differ."""
    rng = np.random.default_rng(0)
    shown, right = rng.integers(1, 60, (1000, 100, 3)), rng.random((1000, 100)) < 0.5
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for p, n in np.ndindex(right.shape):
        a, b, c = shown[p, n].tolist()
        a = 60 if right[p, n] else a
        text = f"x={a}: {b}*{a}={a * b} ok so {c} \\boxed{{{a}}}"
        row = ("base", "wide", str(p), n, 1, "?", "1", 1, "", text, str(a), right[p, n], "", len(text), -3.0, "end")
        for name, value in zip(COLUMNS, row, strict=True):
            columns[name].append(value)
    seconds, _ = clock(lambda: summarise(columns, "base", "wide"))
    table = Table("episodes", "seconds", title="every figure of a summary")
    table.add_row(f"{right.size:,}", f"{seconds:.1f}")
    return table


def main() -> None:
    """Print the four tables."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    silence_libraries()
    cfg = config("algo=score")
    made = build_components(cfg)
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, median of {REPEATS}")
    console.print(engine_table(made, cfg.algo.max_tokens))
    console.print(round_table())
    console.print(grpo_table())
    console.print(metric_table())


if __name__ == "__main__":
    main()
