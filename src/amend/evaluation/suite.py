"""Evaluate a model in every decoding that the configuration asks for, and write episodes.parquet and the summary."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig

from amend.components import Components, build_reranker
from amend.distributed import collectives
from amend.evaluation.base_cache import cached_base_evaluation
from amend.evaluation.evaluate import Attempt, evaluate, unsettled
from amend.exploration.prefill import BaseAttempt
from amend.results.analysis.summary import summarise
from amend.results.metrics.episode_table import COLUMNS, OPTIONAL_COLUMNS
from amend.results.report.terminal.live_view import View
from amend.results.run_folder import episode_file
from amend.results.run_folder.folder import RunFolder
from amend.results.run_folder.naming import config_hash
from amend.types import SamplingParams


class BaseEvaluation(NamedTuple):
    """The evaluation of the base model.

    Attributes:
        columns: The episode table, a list for each column.
        seconds: The duration of the evaluation, now or when it was cached; 0 if a resumed run read its own table.
        saved_seconds: The part of ``seconds`` that this run did not spend, because the cache had the result.
    """

    columns: dict[str, list[Any]]
    seconds: float
    saved_seconds: float


def evaluate_base(cfg: DictConfig, components: Components, folder: RunFolder, view: View) -> BaseEvaluation:
    """Evaluate the base model, or read its evaluation from the cache or from the resumed run's folder.

    Args:
        cfg: The configuration of the run.
        components: The components of the run, with the base model as the policy.
        folder: The run folder, to which the episode table is written.
        view: The terminal view.

    Returns:
        The episode table and its seconds.
    """
    path = folder.path / "episodes.parquet"
    if collectives.run_on_rank_zero(lambda: bool(cfg.resume and path.exists())):
        rows = pq.read_table(path)
        columns = rows.filter(pa.compute.equal(rows["phase"], "base")).to_pydict()
        return BaseEvaluation(columns, 0.0, 0.0)
    start = time.perf_counter()
    columns, seconds = cached_base_evaluation(
        cfg, components.policy, lambda: run_suite(cfg, components, "base", view, components.runner)[0]
    )
    saved_seconds = max(0.0, seconds - (time.perf_counter() - start))
    write_episodes(folder, columns)
    return BaseEvaluation(columns, seconds, saved_seconds)


def run_suite(
    cfg: DictConfig, components: Components, phase: str, view: View, attempt: Attempt
) -> tuple[dict[str, list[Any]], dict[str, float]]:
    """Evaluate a model on the test problems in every decoding that ``eval`` asks for.

    Greedy and sampled have every turn of the dialogue. Wide has many first attempts at some of the problems. Fixed has
    corrections of the base model's greedy first attempts.

    Args:
        cfg: The configuration; ``eval`` has the sizes.
        components: The components of the run.
        phase: "base", "trained" or "student".
        view: The terminal view.
        attempt: Answers problems with the model.

    Returns:
        The columns of the episode table, and by decoding the sampled tokens per problem, with those of replies that a
        method discards.
    """
    problems = components.task.problems("test")[: cfg.eval.problems]
    rank = build_reranker(cfg)
    columns: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, *(OPTIONAL_COLUMNS if rank else ()))}
    tokens: dict[str, float] = {}
    greedy, sampled = (SamplingParams(temperature, cfg.algo.max_tokens) for temperature in (0.0, cfg.eval.temperature))
    plan: list[tuple[Literal["greedy", "sampled", "wide", "fixed"], int, int, list[SamplingParams]]] = [
        ("greedy", len(problems), 1, [greedy] * components.runner.turns),
        ("sampled", len(problems), cfg.eval.samples, [sampled] * components.runner.turns),
        ("wide", cfg.eval.pass_at_k_problems, cfg.eval.pass_at_k_samples, [sampled]),
        ("fixed", len(problems), int(cfg.eval.shared_first_attempts), [greedy] * components.runner.turns),
    ]
    for decoding, count, samples, sampling_params in plan:
        if samples:
            view.phase(f"evaluating the {phase} model, {decoding}")
            subset = problems[:count]
            answer = partial(components.runner, start=BaseAttempt(share=1.0)) if decoding == "fixed" else attempt
            before = components.runner.sampled_tokens
            part = evaluate(
                answer,
                components.runner.attempts,
                components.task,
                subset,
                phase,
                decoding,
                samples,
                sampling_params,
                rank,
            )
            tokens[decoding] = (components.runner.sampled_tokens - before) / len(subset)
            components.runner.sync_weights()
            if warning := unsettled(part):
                view.note(warning)
            for name in columns:
                columns[name] += part[name]
    return columns, tokens


def write_episodes(folder: RunFolder, columns: dict[str, list[Any]]) -> None:
    """Write the episode table to the run folder."""
    folder.write("episodes.parquet", lambda path: episode_file.write_episodes(path, columns))


def build_summary(
    cfg: DictConfig, components: Components, columns: dict[str, list[Any]], cost: dict[str, Any]
) -> dict[str, Any]:
    """Return the content of summary.json: greedy metrics at the top level, other decodings below their names.

    Args:
        cfg: The configuration of the run.
        components: The components of the run.
        columns: The episode table.
        cost: The tokens, episodes and seconds of the run.

    Returns:
        A JSON object.
    """
    figures = {
        decoding: {phase: summarise(columns, phase=phase, decoding=decoding) for phase in ("base", "trained")}
        for decoding in ("greedy", "sampled", "wide")
    }
    name = {"algo": cfg.algo.name, "task": cfg.task.name, "policy": components.policy.name, "seed": cfg.seed}
    name["config_hash"] = config_hash(cfg)
    further = {decoding: figures[decoding] for decoding in ("sampled", "wide") if figures[decoding]["base"]["n"]}
    return {**name, **figures["greedy"], "cost": cost, **further}
