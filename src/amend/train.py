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

import json
import logging
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig, OmegaConf

from amend import launch, ranks
from amend import logger as loggers
from amend.base import once
from amend.build import House, algorithm_of, find, house, knobs, ranker_of, task_of, threads
from amend.compare import compare
from amend.config import command, typed
from amend.doctor import doctor
from amend.errors import UserError
from amend.evaluate import COLUMNS, SCORED, Attempt, evaluate, unsettled
from amend.explore.start import Offline
from amend.facts import draws, expected, facts, pace
from amend.fit import fit, restore, whole
from amend.keeper import Keeper
from amend.lesson import make_orm, outcome_models, sampled_for_orms
from amend.metric.alarm import Alarms, Limits
from amend.policy import divided
from amend.report.breadth import lost_reach
from amend.report.files import lines, read_run
from amend.report.html import write_report
from amend.report.pictures import pictures
from amend.report.seeds import seeds_table
from amend.report.summary import summarise
from amend.report.terminal import View, final_table, print_table
from amend.reporting import report
from amend.run_folder import FINISHED, Onlooker, RunFolder, home, identity
from amend.student import taught
from amend.types import Sampling

INTERRUPTED = 130  # the exit status of a run that Ctrl-C ended, as shells count


def main(cfg: DictConfig) -> int:
    """Run the job; the exit status."""
    quiet()
    jobs = {
        "train": train,
        "evaluate": evaluate_only,
        "seeds": seeds,
        "compare": compare,
        "grade": grade,
        "pretrain": pretrain,
        "train_orm": train_orm,
        "report": report,
        "doctor": doctor,
    }
    if cfg.trainer.strategy == "single" or cfg.job not in ("train", "evaluate"):
        return jobs[cfg.job](cfg)
    with launch.together(cfg.trainer.accelerator, cfg.trainer.devices, cfg.trainer.nodes, typed()):
        return jobs[cfg.job](cfg)


def train(cfg: DictConfig) -> int:
    """Train ``algo`` on ``task``; leaves the run folder of the README."""
    began = time.perf_counter()
    with folder_of(cfg) as folder:
        make_orm(cfg)
        made = house(cfg)
        keep_sources(folder, made)
        find("init", cfg.init.name)(**knobs(cfg.init))(made, folder, cfg.seed, cfg.algo.max_tokens)
        algorithm = algorithm_of(cfg, made)
        view = View(total_rounds=algorithm.rounds)
        log = loggers.make(cfg, folder.path) if ranks.first() else loggers.Logger()
        limits = Limits(truncated=cfg.trainer.max_truncated, **knobs(cfg.alarm))
        keeper = Keeper(folder, view, log, made.score, cfg.trainer.checkpoint_every, limits)
        view.start(f"{cfg.algo.name} on {cfg.task.name}", {**facts(cfg, made, folder.path), **expected(cfg, made)})
        try:
            before, waited = base_episodes(cfg, made, folder, view)
            at = restore(keeper, folder, algorithm) if cfg.resume else None
            fit(cfg, made, algorithm, keeper, at)
            if keeper.stopped:
                view.stop()
                print(f"Stopped after round {algorithm.round} of {algorithm.rounds}. To go on: {again(cfg)}")
                return INTERRUPTED
            made.policy.to(launch.device(cfg.trainer.accelerator))  # from where Lightning leaves it
            if cfg.trainer.select == "best" and algorithm.online and keeper.best.exists():
                divided.load(made.policy, torch.load(keeper.best, weights_only=True, map_location="cpu"))
                made.play.sync()
            after, tokens = measure_all(cfg, made, "trained", view, algorithm.attempt)
            if not ranks.first():
                return 0
            learned = taught(cfg, made, folder, lambda: measure_all(cfg, made, "student", view, made.play)[0])
            columns = {name: before[name] + after[name] + learned.get(name, []) for name in before}
            write_episodes(folder, columns)
            cost = {"seconds": round(time.perf_counter() - began + waited, 1), **algorithm.spent}
            cost["tokens_per_problem"] = round(tokens["greedy"], 1)
            if outcome_models(cfg):
                cost["orm_sampled_tokens"] = sampled_for_orms(cfg)
            summary = {**summary_of(cfg, made, columns, cost), **noticed(folder, columns, limits)}
            for alarm in summary["alarms"]:
                if not alarm["round"]:  # the others were said when they happened
                    view.note(alarm["text"])
            folder.write_json("summary.json", summary)
            log.figures(pictures(read_run(folder.path)))
            log.finish(summary, columns)
        finally:
            view.stop()
        final_table(summary, columns, write_report(folder.path))
        folder.finish()
    return 0


def keep_sources(folder: RunFolder, made: House) -> None:
    """What the task read, with row counts and SHA-256, as sources.json. UserError where a resumed run reads another."""
    read = getattr(made.task, "provenance", {})
    path = folder.path / "sources.json"
    if path.exists() and (before := json.loads(path.read_text(encoding="utf-8"))) != read:
        changed = next(name for name in {**before, **read} if before.get(name) != read.get(name))
        raise UserError(
            f"resume=true: the data changed since {folder.path} began ({changed}: {before.get(changed)} then, "
            f"{read.get(changed)} now); restore it, or start another run without resume=true"
        )
    if read:
        folder.write_json("sources.json", read)


def folder_of(cfg: DictConfig) -> RunFolder:
    """The run's folder, which the first process makes, or finds, and holds."""
    mine: list[RunFolder] = []

    def held() -> Path:
        mine.append(RunFolder.resume(cfg) if cfg.resume else RunFolder.create(cfg))
        return mine[0].path

    path = ranks.on_first(held)
    return mine[0] if mine else Onlooker(path)


def base_episodes(cfg: DictConfig, made: House, folder: RunFolder, view: View) -> tuple[dict[str, list[Any]], float]:
    """The base model's evaluation, and the seconds that another run spent on it for this one.

    A resumed run reads its own; a new one asks whether the same model has been asked the same before.
    """
    path = folder.path / "episodes.parquet"
    if ranks.on_first(lambda: bool(cfg.resume and path.exists())):
        rows = pq.read_table(path)
        return rows.filter(pa.compute.equal(rows["phase"], "base")).to_pydict(), 0.0
    began = time.perf_counter()
    columns, seconds = once(cfg, made.policy, lambda: measure_all(cfg, made, "base", view, made.play)[0])
    waited = max(0.0, seconds - (time.perf_counter() - began))
    if draws(cfg):
        view.note(pace(cfg, len(columns["turn"]), seconds))
    write_episodes(folder, columns)
    return columns, waited


def measure_all(
    cfg: DictConfig, made: House, phase: str, view: View, attempt: Attempt
) -> tuple[dict[str, list[Any]], dict[str, float]]:
    """Greedy, sampled and wide evaluation on the test problems, one table; and, by decoding, how many tokens were drawn
    for each problem, those of replies that were not chosen included.

    Greedy and sampled have every turn of the dialogue; wide has many first attempts at some of the problems; fixed has
    corrections of the base model's greedy first attempts.
    """
    problems = made.task.problems("test")[: cfg.eval.problems]
    rank = ranker_of(cfg)
    columns: dict[str, list[Any]] = {name: [] for name in (SCORED if rank else COLUMNS)}
    tokens: dict[str, float] = {}
    greedy, warm = (Sampling(heat, cfg.algo.max_tokens) for heat in (0.0, cfg.eval.temperature))
    plan: list[tuple[Literal["greedy", "sampled", "wide", "fixed"], int, int, list[Sampling]]] = [
        ("greedy", len(problems), 1, [greedy] * made.play.turns),
        ("sampled", len(problems), cfg.eval.samples, [warm] * made.play.turns),
        ("wide", cfg.eval.wide_problems, cfg.eval.wide, [warm]),
        ("fixed", len(problems), int(cfg.eval.fixed), [greedy] * made.play.turns),
    ]
    for decoding, count, samples, how in plan:
        if samples:
            view.phase(f"evaluating the {phase} model, {decoding}")
            some = problems[:count]
            asked = partial(made.play, start=Offline(share=1.0)) if decoding == "fixed" else attempt
            before = made.play.sampled_tokens
            part = evaluate(asked, made.play.attempts, made.task, some, phase, decoding, samples, how, rank)
            tokens[decoding] = (made.play.sampled_tokens - before) / len(some)
            made.play.sync()
            if said := unsettled(part):
                view.note(said)
            for name in columns:
                columns[name] += part[name]
    return columns, tokens


def write_episodes(folder: RunFolder, columns: dict[str, list[Any]]) -> None:
    """The table as parquet, whole or not at all."""
    folder.write("episodes.parquet", lambda path: pq.write_table(pa.table(columns), path))


def summary_of(cfg: DictConfig, made: House, columns: dict[str, list[Any]], cost: dict[str, Any]) -> dict[str, Any]:
    """The final figures, in the schema of the README; greedy at the top, sampled beside it."""
    figures = {
        decoding: {phase: summarise(columns, phase=phase, decoding=decoding) for phase in ("base", "trained")}
        for decoding in ("greedy", "sampled", "wide")
    }
    name = {"algo": cfg.algo.name, "task": cfg.task.name, "policy": made.policy.name, "seed": cfg.seed}
    beside = {decoding: figures[decoding] for decoding in ("sampled", "wide") if figures[decoding]["base"]["n"]}
    return {**name, **figures["greedy"], "cost": cost, **beside}


def noticed(folder: RunFolder, columns: dict[str, list[Any]], limits: Limits) -> dict[str, Any]:
    """What the run's lines and its evaluation raise: ``alarms``, and ``lost_reach`` where many attempts were made."""
    reach = lost_reach(columns)
    watch = Alarms(limits)
    rounds = list(lines(folder.path / "metrics.jsonl"))
    found = [alarm for row in rounds for alarm in watch.look(row)] + (watch.ended(rounds[-1]) if rounds else [])
    found += watch.judge(reach["mean"], int(reach["k"])) if reach else []
    return {"alarms": [alarm._asdict() for alarm in found], **({"lost_reach": reach} if reach else {})}


def again(cfg: DictConfig) -> str:
    """The command that goes on with this run."""
    return f"{command(cfg)} resume=true"


def evaluate_only(cfg: DictConfig) -> int:
    """Evaluate the policy, or ``checkpoint``, on the test problems; a run folder without training."""
    with folder_of(cfg) as folder:
        made = house(cfg)
        keep_sources(folder, made)
        if cfg.checkpoint:
            load_weights(made, Path(cfg.checkpoint))
        view = View(total_rounds=0)
        view.start(f"evaluating {made.policy.name} on {cfg.task.name}", facts(cfg, made, folder.path))
        try:
            columns, _ = measure_all(cfg, made, "base", view, algorithm_of(cfg, made).attempt)
        finally:
            view.stop()
        if not ranks.first():
            return 0
        write_episodes(folder, columns)
        figures = {d: {"base": summarise(columns, phase="base", decoding=d)} for d in ("greedy", "sampled")}
        name = {"algo": "none", "task": cfg.task.name, "policy": made.policy.name, "seed": cfg.seed}
        summary = {**name, **figures["greedy"], "sampled": figures["sampled"]}
        folder.write_json("summary.json", summary)
        final_table(summary, columns, write_report(folder.path))
        folder.finish()
    return 0


def load_weights(made: House, path: Path) -> None:
    """A run's best.ckpt or last.ckpt into the policy."""
    try:
        saved = whole(path)
        own = {
            k.removeprefix("policy.lm."): v
            for k, v in saved.get("state_dict", {}).items()
            if k.startswith("policy.lm.")
        }
        divided.load(made.policy, own or saved)
    except Exception as error:  # torch raises whatever the bytes happen to trip over; one line says which file
        raise UserError(
            f"checkpoint={path}: no weights of {made.policy.name} in it ({type(error).__name__})"
        ) from error
    made.play.sync()


def seeds(cfg: DictConfig) -> int:
    """The table of all seeds of this configuration, from the folders of its finished runs."""
    trained = OmegaConf.merge(cfg, {"job": "train"})
    assert isinstance(trained, DictConfig)
    newest: dict[str, Path] = {}  # a seed that was run again counts once
    for marker in sorted(home(trained).parent.glob(f"{identity(trained)}-s*/{FINISHED}"), key=modified):
        newest[marker.parent.name.split("-")[1]] = marker.parent
    print_table(seeds_table(list(newest.values()), f"{cfg.algo.name} on {cfg.task.name}, {len(newest)} seeds"))
    return 0


def modified(path: Path) -> int:
    """When a file was written, in nanoseconds."""
    return path.stat().st_mtime_ns


def grade(cfg: DictConfig) -> int:
    """Re-check the replies of one JSONL file into another."""
    from amend.task.grade import grade_file

    whys = grade_file(task_of(cfg), Path(cfg.responses), Path(cfg.verdicts))
    print(f"verdicts: {cfg.verdicts} ({', '.join(f'{why} {count}' for why, count in whys.most_common())})")
    return 0


def pretrain(cfg: DictConfig) -> int:
    """Rebuild the built-in model."""
    from amend.card import pass_at, write_card
    from amend.pretrain import rebuild

    threads(cfg.trainer.threads, cfg.trainer.nodes)
    began = time.perf_counter()
    out = rebuild(cfg)
    seconds = time.perf_counter() - began
    cfg = OmegaConf.merge(cfg, {"policy": {"path": str(out)}})  # type: ignore[assignment]
    made, view = house(cfg), View(total_rounds=0)
    columns, _ = measure_all(cfg, made, "base", view, made.play)
    figures = summarise(columns, phase="base", decoding="greedy")
    card = write_card(out, figures, pass_at(made, figures["n"], cfg.algo.max_tokens), seconds)
    print(f"the model: {out}   its card: {card}   to use it: policy.path={out}")
    return 0


def train_orm(cfg: DictConfig) -> int:
    """Train an outcome reward model on the policy's replies."""
    from amend.orm import train_orm as trained

    path = trained(house(cfg), cfg)
    print(f"the outcome model: {path}   to use it: reward=orm reward.orm.path={path}")
    return 0


def quiet() -> None:
    """Libraries keep to warnings; what a user must know amend says itself."""
    for name in ("pytorch_lightning", "lightning.pytorch", "transformers", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    import transformers

    transformers.utils.logging.disable_progress_bar()
