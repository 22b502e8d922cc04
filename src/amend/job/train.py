"""job=train: evaluate the base model, train ``algo`` on ``task``, evaluate the result, and write the run folder."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig

from amend.algo.base import GenerationStrategy
from amend.components import Components, build, build_algorithm, build_components, to_kwargs
from amend.config.command_line import reproduce_command
from amend.distributed import collectives, fsdp, launch
from amend.errors import INTERRUPTED
from amend.evaluation.suite import BaseEvaluation, build_summary, evaluate_base, run_suite, write_episodes
from amend.job.train_orm import configured_outcome_models, count_orm_sampled_tokens, train_missing_orm
from amend.logger.base import Logger, NoLogger
from amend.logger.make import build_logger
from amend.results.report.charts.export import export_charts
from amend.results.report.html.run_page import write_report
from amend.results.report.terminal.final_report import final_table
from amend.results.report.terminal.live_view import View
from amend.results.run_folder.folder import RunFolder
from amend.results.run_folder.reader import read_run
from amend.training.alerts import AlertThresholds, collect_alerts
from amend.training.callbacks import RunCallbacks, build_callbacks
from amend.training.checkpoints import restore
from amend.training.distillation import distill
from amend.training.estimates import describe_pace, describe_setup, estimate_run, samples_from_policy
from amend.training.run_setup import open_run_folder, record_sources
from amend.training.trainer import fit

Columns = dict[str, list[Any]]


class TrainingRun(NamedTuple):
    """The objects that the steps of a run share.

    Attributes:
        cfg: The checked configuration.
        folder: The run folder, which rank 0 locks.
        components: Task, dialogue, policy, runner and reward.
        algorithm: The algorithm that trains the policy.
        view: The terminal view.
        logger: The logger, which gets the metrics in addition to the run folder.
        callbacks: The Lightning callbacks.
        start: ``time.perf_counter()`` at the beginning of the job, in seconds.
    """

    cfg: DictConfig
    folder: RunFolder
    components: Components
    algorithm: GenerationStrategy
    view: View
    logger: Logger
    callbacks: RunCallbacks
    start: float


def run(cfg: DictConfig) -> int:
    """Train ``algo`` on ``task`` and write the run folder.

    Args:
        cfg: The checked configuration.

    Returns:
        The exit status: 0, or ``INTERRUPTED`` if Ctrl-C stopped the run.

    Raises:
        UserError: If the folder, the data, the model or a checkpoint cannot be used.
    """
    start = time.perf_counter()
    with open_run_folder(cfg) as folder:
        job = prepare(cfg, folder, start)
        try:
            base = evaluate_base_model(job)
            train(job)
            if job.callbacks.stop.stopped:
                job.view.stop()
                print(
                    f"Stopped after iteration {job.algorithm.iteration} of {job.algorithm.num_iterations}. To resume: "
                    f"{resume_command(cfg)}"
                )
                return INTERRUPTED
            trained, tokens = evaluate_trained_model(job)
            if not collectives.is_rank_zero():
                return 0
            summary, columns = write_results(job, base, trained, tokens)
        finally:
            job.view.stop()
        final_table(summary, columns, write_report(folder.path))
        folder.finish()
    return 0


def prepare(cfg: DictConfig, folder: RunFolder, start: float) -> TrainingRun:
    """Build the components, apply ``init``, and print the setup."""
    train_missing_orm(cfg)
    components = build_components(cfg)
    record_sources(folder, components)
    build(cfg.init)(components, folder, cfg.seed, cfg.algo.max_tokens)
    algorithm = build_algorithm(cfg, components)
    view = View(total_iterations=algorithm.num_iterations)
    logger = build_logger(cfg, folder.path) if collectives.is_rank_zero() else NoLogger(folder.path, {})
    thresholds = AlertThresholds(**to_kwargs(cfg.alerts))
    callbacks = build_callbacks(folder, view, logger, components.reward, cfg.trainer.checkpoint_every, thresholds)
    setup = {**describe_setup(cfg, components, folder.path), **estimate_run(cfg, components)}
    view.start(f"{cfg.algo.name} on {cfg.task.name}", setup)
    return TrainingRun(cfg, folder, components, algorithm, view, logger, callbacks, start)


def evaluate_base_model(job: TrainingRun) -> BaseEvaluation:
    """Evaluate the base model, or read its evaluation from the cache, and print the estimated pace of the run."""
    base = evaluate_base(job.cfg, job.components, job.folder, job.view)
    if samples_from_policy(job.cfg) and base.seconds:
        job.view.note(describe_pace(job.cfg, len(base.columns["turn"]), base.seconds))
    return base


def train(job: TrainingRun) -> None:
    """Restore the checkpoint of a resumed run, and train until the budget is used or Ctrl-C is pressed."""
    checkpoint = restore(job.callbacks.checkpoint.path, job.folder, job.algorithm) if job.cfg.resume else None
    fit(job.cfg, job.components, job.algorithm, job.callbacks, checkpoint)


def evaluate_trained_model(job: TrainingRun) -> tuple[Columns, dict[str, float]]:
    """Load the weights that ``trainer.eval_checkpoint`` chooses, and evaluate them on the test problems."""
    cfg, components = job.cfg, job.components
    components.policy.to(launch.device(cfg.trainer.accelerator))  # Lightning moves it to the CPU at the end
    best = job.callbacks.best.path
    if cfg.trainer.eval_checkpoint == "best" and job.algorithm.online and best.exists():
        weights = torch.load(best, weights_only=True, map_location="cpu")
        fsdp.load_full_state_dict(components.policy.lm, weights)
        components.runner.sync_weights()
    return run_suite(cfg, components, "trained", job.view, job.algorithm.generate)


def write_results(
    job: TrainingRun, base: BaseEvaluation, trained: Columns, tokens: dict[str, float]
) -> tuple[dict[str, Any], Columns]:
    """Train a student if ``distillation`` is set, and write the results of the run.

    The results are episodes.parquet, summary.json and the charts of the logger.

    Args:
        job: The run.
        base: The evaluation of the base model.
        trained: The episode table of the trained model.
        tokens: Mean number of tokens per problem, by decoding.

    Returns:
        The content of summary.json, and the episode table of all evaluations.
    """
    cfg, components, folder = job.cfg, job.components, job.folder
    student = distill(
        cfg, components, folder, lambda: run_suite(cfg, components, "student", job.view, components.runner)[0]
    )
    columns = {name: base.columns[name] + trained[name] + student.get(name, []) for name in base.columns}
    write_episodes(folder, columns)
    seconds = time.perf_counter() - job.start + base.saved_seconds
    cost = {"seconds": round(seconds, 1), **job.algorithm.counters}
    cost["tokens_per_problem"] = round(tokens["greedy"], 1)
    if configured_outcome_models(cfg):
        cost["orm_sampled_tokens"] = count_orm_sampled_tokens(cfg)
    thresholds = AlertThresholds(**to_kwargs(cfg.alerts))
    alerts = collect_alerts(folder, columns, thresholds)
    summary = {**build_summary(cfg, components, columns, cost), **alerts}
    for alert in summary["alerts"]:
        if not alert["iteration"]:  # alerts of an iteration were printed when they occurred
            job.view.note(alert["text"])
    folder.write_json("summary.json", summary)
    job.logger.figures(export_charts(read_run(folder.path)))
    job.logger.finish(summary, columns)
    return summary, columns


def resume_command(cfg: DictConfig) -> str:
    """Return the command that resumes this run."""
    return f"{reproduce_command(cfg)} resume=true"
