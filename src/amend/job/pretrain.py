"""job=pretrain: train the built-in model from scratch, evaluate it, and write its model card."""

from __future__ import annotations

import time

import numpy as np
from omegaconf import DictConfig, OmegaConf

from amend.components import Components, build_components
from amend.distributed.threads import set_threads
from amend.evaluation.suite import run_suite
from amend.policy.tiny.model_card import SAMPLES, write_card
from amend.policy.tiny.pretrain import rebuild
from amend.results.analysis.summary import summarise
from amend.results.metrics.pass_at_k import pass_at_k
from amend.results.report.terminal.live_view import View
from amend.types import SamplingParams

CARD_SEED = 96


def pass_at(components: Components, problems: int, max_tokens: int) -> dict[int, float]:
    """pass@1 and pass@96 of first attempts at temperature 1 on the first ``problems`` test problems."""
    asked = components.task.problems("test")[:problems]
    right = []
    for start in range(0, len(asked), 50):  # 50 x 96 replies at a time are enough to hold
        some = asked[start : start + 50]
        episodes = components.runner(some, SAMPLES, [SamplingParams(1.0, max_tokens)], (CARD_SEED,))
        verdicts = components.task.grade_many([(e.problem, e.turns[0].reply.text) for e in episodes])
        right.append(np.array([verdict.correct for verdict in verdicts]).reshape(len(some), SAMPLES))
    components.runner.sync_weights()
    correct = np.concatenate(right)
    return {k: float(pass_at_k(correct, k).mean()) for k in (1, SAMPLES)}


def run(cfg: DictConfig) -> int:
    """Rebuild the built-in model."""
    set_threads(cfg.trainer.threads, cfg.trainer.nodes)
    began = time.perf_counter()
    out = rebuild(cfg)
    seconds = time.perf_counter() - began
    cfg = OmegaConf.merge(cfg, {"policy": {"path": str(out)}})  # type: ignore[assignment]
    components, view = build_components(cfg), View(total_iterations=0)
    columns, _ = run_suite(cfg, components, "base", view, components.runner)
    figures = summarise(columns, phase="base", decoding="greedy")
    card = write_card(out, figures, pass_at(components, figures["n"], cfg.algo.max_tokens), seconds)
    print(f"the model: {out}   its card: {card}   to use it: policy.path={out}")
    return 0
