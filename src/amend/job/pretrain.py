"""job=pretrain: train the built-in model from scratch, evaluate it, and write its model card."""

from __future__ import annotations

import time

import numpy as np
from omegaconf import DictConfig, OmegaConf

from amend.components import Components, build_components
from amend.distributed.threads import set_threads
from amend.evaluation.suite import run_suite
from amend.policy.tiny.model_card import SAMPLES, write_card
from amend.policy.tiny.pretrain import pretrain
from amend.results.analysis.summary import summarise
from amend.results.metrics.pass_at_k import pass_at_k
from amend.results.report.terminal.live_view import View
from amend.types import SamplingParams

CARD_SEED = 96  # seed of the samples that the model card reports


def pass_at(components: Components, problems: int, max_tokens: int) -> dict[int, float]:
    """Return pass@1 and pass@96 of first attempts at temperature 1.

    Args:
        components: The task, and the runner that samples.
        problems: Number of test problems; the function uses the first ones.
        max_tokens: The largest number of tokens in a reply.

    Returns:
        The mean of pass@k over the problems, by k.
    """
    test = components.task.problems("test")[:problems]
    parts = []
    for start in range(0, len(test), 50):  # bounds the memory to 50 x 96 replies
        chunk = test[start : start + 50]
        episodes = components.runner(chunk, SAMPLES, [SamplingParams(1.0, max_tokens)], (CARD_SEED,))
        verdicts = components.task.grade_many([(e.problem, e.turns[0].reply.text) for e in episodes])
        parts.append(np.array([verdict.correct for verdict in verdicts]).reshape(len(chunk), SAMPLES))
    components.runner.sync_weights()
    correct = np.concatenate(parts)
    return {k: float(pass_at_k(correct, k).mean()) for k in (1, SAMPLES)}


def run(cfg: DictConfig) -> int:
    """Train the built-in model, evaluate it, and write its folder with the model card."""
    set_threads(cfg.trainer.threads, cfg.trainer.nodes)
    start = time.perf_counter()
    out = pretrain(cfg)
    seconds = time.perf_counter() - start
    cfg = OmegaConf.merge(cfg, {"policy": {"path": str(out)}})  # type: ignore[assignment]
    components, view = build_components(cfg), View(total_iterations=0)
    columns, _ = run_suite(cfg, components, "base", view, components.runner)
    figures = summarise(columns, phase="base", decoding="greedy")
    card = write_card(out, figures, pass_at(components, figures["n"], cfg.algo.max_tokens), seconds)
    print(f"model: {out}   model card: {card}   use it with: policy.path={out}")
    return 0
