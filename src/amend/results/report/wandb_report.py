"""The study as a W&B Report: its tables, and its curves as W&B panels over the runs' own metrics.

Figures over several runs at once (pass@k, edit distances, profiles) cannot be W&B panels. They are tables, next to
the charts that every run logs.

A condition is a run set, selected by the names of our W&B runs (task/algorithm/folder); its seeds are one line with
their range. Building needs no network and no account. Only publishing needs the server, an entity and a project. This
file alone uses wandb-workspaces, the optional extra ``report``; it uses two private names of that library
(``_to_model``), so the version is bounded tightly.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from amend.errors import UserError
from amend.results.analysis.study import Study
from amend.results.report.charts.export import slug
from amend.results.report.export import figure_table, table
from amend.results.report.html.sections import title

CHARTS = (  # of those that a run logs (``amend.report.pictures``), what no metric of W&B's shows
    "Share of problems",
    *(title(phase, turn, by) for phase in ("base", "trained") for turn in (0, 1) for by in ("steps", "perplexity")),
)
NOWHERE = "amend"  # stands for an entity and a project until the report is published


def build_report(study: Study, entity: str, project: str) -> Any:
    """The report; with ``entity`` and ``project`` empty it belongs nowhere yet, and is only good for its JSON.

    UserError where wandb-workspaces is not installed.
    """
    wr, expr = _library()
    wanted = [group for group in study.groups if group.folders]
    runsets = [
        wr.Runset(
            entity=entity,
            project=project,
            name=group.label,
            filters=[expr.Metric("displayName").isin([_name(folder) for folder in group.folders])],
            groupby=["config.algo.name"],
        )
        for group in wanted
    ]
    panels = [
        wr.LinePlot(
            title=figure.title,
            x="sampled_tokens",
            y=[figure.key.removeprefix("training_")],
            title_x=figure.x_label,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        )
        for figure in study.figures
        if figure.kind == "curve"
    ]
    panels += [
        wr.BarPlot(
            title=column.label,
            metrics=[f"trained.{column.key}.mean"],
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        )
        for sheet in study.sheets
        if sheet.key == "greedy"
        for column in sheet.columns
    ]
    blocks: list[Any] = [wr.TableOfContents()]
    if study.notes:
        blocks.append(wr.MarkdownBlock("\n".join(f"- {note}" for note in study.notes)))
    for sheet in study.sheets:
        blocks += [wr.H2(sheet.title), wr.P(sheet.note), wr.MarkdownBlock(table(study, sheet))]
        blocks += [wr.MarkdownBlock("\n".join(f"- {line}" for line in sheet.lines))] if sheet.lines else []
    for figure in study.figures:
        if figure.kind != "curve":
            blocks += [wr.H2(figure.title), wr.P(figure.note), wr.MarkdownBlock(figure_table(study, figure))]
    charts = [
        wr.MediaBrowser(title=name, media_keys=[f"figures/{slug(name)}"], mode="gallery", gallery_axis="run")
        for name in CHARTS
    ]
    blocks += [
        wr.H2("Learning curves"),
        wr.PanelGrid(runsets=runsets, panels=panels),
        wr.H2("Each run's own charts"),
        wr.PanelGrid(runsets=runsets, panels=charts),
        wr.H2("What differs between the runs"),
        wr.PanelGrid(runsets=runsets, panels=[wr.RunComparer(diff_only="split")]),
        wr.P(f"Written by amend; code: {', '.join(study.commits) or 'unknown'}."),
    ]
    return wr.Report(
        entity=entity or NOWHERE,
        project=project or NOWHERE,
        title=study.title,
        description="Means with 95 % intervals over seeds and problems.",
        blocks=blocks,
        width="fluid",
    )


def as_workspace(study: Study) -> str:
    """The report's JSON, without a server."""
    spec = build_report(study, "", "")._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    return json.dumps({"title": study.title, "spec": json.loads(spec)}, ensure_ascii=False, indent=1) + "\n"


def publish(study: Study, where: str) -> str:
    """Save the report to ``entity/project`` at the W&B server that the user is logged in to; its address."""
    entity, _, project = where.partition("/")
    report = build_report(study, entity, project)
    try:
        report.save()
    except Exception as error:  # fallback: client and server raise many kinds of errors
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"publish={where}: not published: {type(error).__name__}: {reason}; is `wandb login` done?"
        ) from error
    return str(report.url)


def _name(folder: str) -> str:
    """What a run is called at W&B."""
    return "/".join(Path(folder).parts[-3:])


def _library() -> tuple[Any, Any]:
    try:
        return importlib.import_module("wandb_workspaces.reports.v2"), importlib.import_module("wandb_workspaces.expr")
    except ImportError as error:
        raise UserError('to=wandb: wandb-workspaces is not installed; allowed: pip install "amend[report]"') from error
