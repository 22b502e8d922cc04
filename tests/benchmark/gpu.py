"""How fast on one GPU: ``make benchmark-gpu`` prints three tables, all from one process and one run.

    machine    what it does at best, measured first: bytes copied and bfloat16 operations a second
    sampling   tokens/s of ``local``, ``hf`` and transformers' ``generate`` (what TRL samples with), on the same prompts
    round      a GRPO round with each engine, and one of TRL's GRPOTrainer: same model, group size, lengths, one update

Shares are of those bests: a decoding step must read every weight and the cache once; a parameter costs 2 operations a
token that is sampled and 6 a token that is trained. The model has Qwen2.5-0.5B's shape and random weights in bfloat16,
so hardly a reply ends before its length. Peak memory is torch's. Without a CUDA device it says so in one line and ends
with status 2. No GPU was at hand when it was written: ``test_gpu.py`` walks it through on a processor, in small.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, Qwen2Config

console = Console(width=120)
DEVICE = "cuda"
LARGE = 8192  # the side of a matrix large enough to keep any GPU busy
SHAPE: dict[str, Any] = {
    "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
    "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768, "tie_word_embeddings": True,
}  # fmt: skip


class Sizes(NamedTuple):
    """How much is sampled and learnt from at once."""

    problems: int
    samples: int
    max_tokens: int
    repeats: int


class Ceiling(NamedTuple):
    """What this machine does at best: bytes read a second, and operations a second in bfloat16."""

    bandwidth: float
    compute: float


class Run(NamedTuple):
    """The median seconds of something, and the most memory it took, in bytes."""

    seconds: float
    peak: int


def timed(work: Callable[[], Any], repeats: int) -> Run:
    """The median of ``repeats`` calls after one that is thrown away."""
    work()
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return Run(statistics.median(seconds), torch.cuda.max_memory_allocated())


def ceiling(repeats: int) -> Ceiling:
    """A copy of 4 GB (read once, written once), and a product of two matrices."""
    source = torch.empty(2 * LARGE**2 * 16, dtype=torch.bfloat16, device=DEVICE)
    target = torch.empty_like(source)
    copied = timed(lambda: target.copy_(source), repeats)
    a = torch.randn(LARGE, LARGE, dtype=torch.bfloat16, device=DEVICE)
    multiplied = timed(lambda: a @ a, repeats)
    return Ceiling(2 * source.nbytes / copied.seconds, 2 * LARGE**3 / multiplied.seconds)


def saved(folder: Path) -> None:
    """A model of that shape and the built-in tokenizer, whose tokens are the first of its vocabulary."""
    from transformers import AutoTokenizer

    from amend.policy.loading import BUILTIN

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN)
    config = Qwen2Config(**SHAPE, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def made(folder: Path, sizes: Sizes, engine: str) -> tuple[Any, Any, Callable[[], Any]]:
    """A house, its GRPO and its next problems, on the GPU."""
    from composed import composed
    from run import trainable

    cfg = composed(
        "algo=grpo", "dialogue=single", "algo.turns=1", "algo.kl_coef=0", "logger=none", f"rollout={engine}",
        f"rollout.max_batch_size={sizes.problems * sizes.samples}", "policy=hf", f"policy.path={folder}",
        "policy.dtype=bfloat16", f"algo.groups_per_batch={sizes.problems}", f"algo.group_size={sizes.samples}",
        f"algo.max_tokens={sizes.max_tokens}",
    )  # fmt: skip
    house, algorithm, problems = trainable(cfg)
    algorithm.to(DEVICE)
    return house, algorithm, problems


def step_bytes(lm: Any, rows: int, width: int) -> int:
    """What one decoding step must read: every weight once, and every row's keys and values."""
    config = lm.config
    head = config.hidden_size // config.num_attention_heads
    cache = 2 * config.num_hidden_layers * config.num_key_value_heads * head * lm.dtype.itemsize
    return sum(w.nbytes for w in lm.parameters()) + rows * width * cache


def row(name: str, ran: Run, tokens: int, read: float, operations: float, best: Ceiling) -> tuple[str, ...]:
    """A line of a table."""
    return (
        name, f"{ran.seconds:.2f}", f"{tokens / ran.seconds:,.0f}", f"{ran.peak / 2**30:.1f}",
        f"{read / ran.seconds / best.bandwidth:.1%}" if read else "", f"{operations / ran.seconds / best.compute:.1%}",
    )  # fmt: skip


def tables(folder: Path, sizes: Sizes) -> list[Table]:
    """All that is measured."""
    from run import trl_round

    from amend.types import SamplingParams

    best = ceiling(sizes.repeats)
    columns = ("", "s", "tokens/s", "peak GiB", "of bandwidth", "of compute")
    engines, rounds = Table(*columns, title="sampling"), Table(*columns, title="a GRPO round")
    rows = sizes.problems * sizes.samples
    turn = iter(range(10**6))
    for engine in ("local", "hf"):
        house, algorithm, problems = made(folder, sizes, engine)
        policy, sampler = house.policy, house.runner._engine
        asked = [
            policy.renderer.build_generation_prompt(house.task.render_prompt(p))
            for p in problems()
            for _ in range(sizes.samples)
        ]
        length, size = max(map(len, asked)), sum(w.numel() for w in policy.lm.parameters())
        drawn = rows * sizes.max_tokens
        read = sizes.max_tokens * step_bytes(policy.lm, rows, length + sizes.max_tokens // 2)

        def sample() -> None:
            sampler.sync_weights()
            seeds = [(next(turn), i) for i in range(rows)]
            sampler.sample(asked, SamplingParams(1.0, sizes.max_tokens), seeds)

        engines.add_row(*row(engine, timed(sample, sizes.repeats), drawn, read, 2.0 * size * drawn, best))
        if engine == "local":
            engines.add_row(*row(
                "generate", timed(lambda: generate(policy, asked, sizes.max_tokens), sizes.repeats), drawn, read,
                2.0 * size * drawn, best,
            ))  # fmt: skip
        trained = 2.0 * size * drawn + 6.0 * size * rows * (length + sizes.max_tokens)
        ran = timed(lambda: algorithm.training_step(problems(), 0), sizes.repeats)
        rounds.add_row(*row(f"amend, {engine}", ran, drawn, 0, trained, best))
        if engine == "hf":
            torch.cuda.reset_peak_memory_stats()
            seconds = trl_round(
                house, sizes.max_tokens, problems=sizes.problems, samples=sizes.samples, repeats=sizes.repeats,
                use_cpu=DEVICE == "cpu", bf16=DEVICE == "cuda", gradient_checkpointing=False,
            )  # fmt: skip
            rounds.add_row(*row("TRL", Run(seconds, torch.cuda.max_memory_allocated()), drawn, 0, trained, best))
        del house, algorithm, policy, sampler
        torch.cuda.empty_cache()
    machine = Table("GPU", "bandwidth GB/s", "bfloat16 TFLOP/s", title="the machine, measured")
    machine.add_row(torch.cuda.get_device_name(), f"{best.bandwidth / 1e9:,.0f}", f"{best.compute / 1e12:,.0f}")
    return [machine, engines, rounds]


@torch.no_grad()
def generate(policy: Any, prompts: Sequence[tuple[int, ...]], max_tokens: int) -> None:
    """transformers' own loop over the same prompts, padded on the left."""
    width, pad = max(map(len, prompts)), policy.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts], device=DEVICE)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=DEVICE)
    policy.lm.generate(
        ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=max_tokens,
        pad_token_id=pad,
    )  # fmt: skip


def main() -> int:
    """Print the tables; the exit status."""
    parser = argparse.ArgumentParser(description="amend and TRL on one GPU, side by side")
    for name, value in (("problems", 32), ("samples", 8), ("max_tokens", 512), ("repeats", 5)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    sizes = Sizes(**vars(parser.parse_args()))
    if not torch.cuda.is_available():
        print("benchmark: there is no CUDA device here, and nothing was measured", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        saved(Path(folder))
        console.print(f"torch {torch.__version__}, {sizes}, medians")
        for table in tables(Path(folder), sizes):
            console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
