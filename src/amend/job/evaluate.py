"""job=evaluate: evaluate the policy, or a checkpoint, without training."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from amend.components import build_algorithm, build_components
from amend.distributed import collectives
from amend.evaluation.suite import run_suite, write_episodes
from amend.results.analysis.summary import summarise
from amend.results.report.html.run_page import write_report
from amend.results.report.terminal.final_report import final_table
from amend.results.report.terminal.live_view import View
from amend.training.checkpoints import load_weights
from amend.training.estimates import describe_setup
from amend.training.run_setup import open_run_folder, record_sources


def run(cfg: DictConfig) -> int:
    """Evaluate the policy, or ``checkpoint``, on the test problems, and write a run folder."""
    with open_run_folder(cfg) as folder:
        components = build_components(cfg)
        record_sources(folder, components)
        if cfg.checkpoint:
            load_weights(components, Path(cfg.checkpoint))
        view = View(total_iterations=0)
        view.start(
            f"evaluating {components.policy.name} on {cfg.task.name}", describe_setup(cfg, components, folder.path)
        )
        try:
            columns, _ = run_suite(cfg, components, "base", view, build_algorithm(cfg, components).generate)
        finally:
            view.stop()
        if not collectives.is_rank_zero():
            return 0
        write_episodes(folder, columns)
        figures = {d: {"base": summarise(columns, phase="base", decoding=d)} for d in ("greedy", "sampled")}
        identity = {"algo": "none", "task": cfg.task.name, "policy": components.policy.name, "seed": cfg.seed}
        summary = {**identity, **figures["greedy"], "sampled": figures["sampled"]}
        folder.write_json("summary.json", summary)
        final_table(summary, columns, write_report(folder.path))
        folder.finish()
    return 0
