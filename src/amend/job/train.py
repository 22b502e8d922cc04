"""The composition root: what each ``job`` does, from a checked configuration to files on disk.

train      base evaluation, rounds of the algorithm, evaluation of what came out, table, report
evaluate   the same evaluation of any policy or checkpoint, without training
seeds      what the finished runs of this configuration, under all their seeds, say together
grade      re-check replies from a file
pretrain   rebuild the built-in model from nothing
report     write a run folder's report again, or one report of many runs
doctor     is this model, template and task fit to train?
"""

from __future__ import annotations

import time

import torch
from omegaconf import DictConfig

from amend.components import build, build_algorithm, build_components, to_kwargs
from amend.config.command_line import reproduce_command
from amend.distributed import collectives, fsdp, launch
from amend.errors import INTERRUPTED
from amend.evaluation.suite import build_summary, evaluate_base, run_suite, write_episodes
from amend.job.train_orm import configured_outcome_models, count_orm_sampled_tokens, train_missing_orm
from amend.logger import base
from amend.logger import make as loggers
from amend.results.report.charts.export import export_charts
from amend.results.report.html.run_page import write_report
from amend.results.report.terminal.final_report import final_table
from amend.results.report.terminal.live_view import View
from amend.results.run_folder.reader import read_run
from amend.training.alerts import AlertThresholds, collect_alerts
from amend.training.callbacks import Keeper
from amend.training.checkpoints import restore
from amend.training.distillation import distill
from amend.training.estimates import describe_pace, describe_setup, estimate_run, samples_from_policy
from amend.training.run_setup import open_run_folder, record_sources
from amend.training.trainer import fit


def run(cfg: DictConfig) -> int:
    """Train ``algo`` on ``task``; leaves the run folder of the README."""
    began = time.perf_counter()
    with open_run_folder(cfg) as folder:
        train_missing_orm(cfg)
        made = build_components(cfg)
        record_sources(folder, made)
        build(cfg.init)(made, folder, cfg.seed, cfg.algo.max_tokens)
        algorithm = build_algorithm(cfg, made)
        view = View(total_rounds=algorithm.num_iterations)
        log = loggers.make(cfg, folder.path) if collectives.is_rank_zero() else base.NoLogger(folder.path, {})
        limits = AlertThresholds(**to_kwargs(cfg.alerts))
        keeper = Keeper(folder, view, log, made.score, cfg.trainer.checkpoint_every, limits)
        view.start(
            f"{cfg.algo.name} on {cfg.task.name}", {**describe_setup(cfg, made, folder.path), **estimate_run(cfg, made)}
        )
        try:
            base_evaluation = evaluate_base(cfg, made, folder, view)
            before, waited = base_evaluation.columns, base_evaluation.saved_seconds
            if samples_from_policy(cfg) and base_evaluation.seconds:
                view.note(describe_pace(cfg, len(before["turn"]), base_evaluation.seconds))
            at = restore(keeper, folder, algorithm) if cfg.resume else None
            fit(cfg, made, algorithm, keeper, at)
            if keeper.stopped:
                view.stop()
                print(
                    f"Stopped after round {algorithm.round} of {algorithm.num_iterations}. To go on: "
                    f"{resume_command(cfg)}"
                )
                return INTERRUPTED
            made.policy.to(launch.device(cfg.trainer.accelerator))  # from where Lightning leaves it
            if cfg.trainer.eval_checkpoint == "best" and algorithm.online and keeper.best.exists():
                fsdp.load_full_state_dict(
                    made.policy.lm, torch.load(keeper.best, weights_only=True, map_location="cpu")
                )
                made.play.sync_weights()
            after, tokens = run_suite(cfg, made, "trained", view, algorithm.generate)
            if not collectives.is_rank_zero():
                return 0
            learned = distill(cfg, made, folder, lambda: run_suite(cfg, made, "student", view, made.play)[0])
            columns = {name: before[name] + after[name] + learned.get(name, []) for name in before}
            write_episodes(folder, columns)
            cost = {"seconds": round(time.perf_counter() - began + waited, 1), **algorithm.counters}
            cost["tokens_per_problem"] = round(tokens["greedy"], 1)
            if configured_outcome_models(cfg):
                cost["orm_sampled_tokens"] = count_orm_sampled_tokens(cfg)
            summary = {**build_summary(cfg, made, columns, cost), **collect_alerts(folder, columns, limits)}
            for alarm in summary["alerts"]:
                if not alarm["iteration"]:  # the others were said when they happened
                    view.note(alarm["text"])
            folder.write_json("summary.json", summary)
            log.figures(export_charts(read_run(folder.path)))
            log.finish(summary, columns)
        finally:
            view.stop()
        final_table(summary, columns, write_report(folder.path))
        folder.finish()
    return 0


def resume_command(cfg: DictConfig) -> str:
    """The command that goes on with this run."""
    return f"{reproduce_command(cfg)} resume=true"
