"""A sweep's result as a page of Markdown, from its JSON alone: what was run, on what, and its tables with intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from amend.errors import UserError
from amend.results.analysis.metric_registry import LABELS, NUMBERS, SIGNED

TABLES = {  # heading -> figures, in this order, where the sweep has them
    "Greedy": ("acc_t1", "acc_t2", "acc_t3", "delta", "i_to_c", "c_to_i", "fixed_t2", "fixed_i_to_c"),
    "How the second attempt relates to the first": ("change_rate", "copy_rate", "edit_distance", "unedited"),
    "Many first attempts at temperature 1": ("mean", "maj", "rerank", "pass", "unique"),
    "Votes over 32 attempts, and over 16 that were each corrected once": ("parallel_32", "sequential_32"),
    "How various they are": ("distinct_2", "vendi", "distinct_answers"),
    "What it generates": ("generated.mean", "generated.unique", "generated.distinct_2", "generated.vendi"),
    "What it generates, for its cost: a reply, and a token sampled in training or generation": (
        "generated.unique_per_reply",
        "generated.right_per_1000_tokens",
        "generated.unique_per_1000_tokens",
    ),
    "A student trained on what it generates": ("student.acc_t1", "student.mean", "student.maj", "student.pass"),
    "The student's gain over the base model in mean of one": ("student.per_1000", "student.per_100k_tokens"),
}
WIDE = ("mean", "maj", "rerank", "pass", "unique")  # of k attempts a problem
SHORT = 10  # columns that there is room for intervals in
OPTIONAL = re.compile(
    r"(fix|break)_rate|auroc_t\d+|(step|token)_(error|predicted|excess)|level\d+\.acc_t\d+"
)  # figures that a result holds only if the layout of its sweep asks for them
KEYS = ("tables", "curves", "not_run")
UNCOMMITTED = " (+: with files that were not committed)"


class Layout(NamedTuple):
    """What the page of one sweep has beside the tables and charts of every sweep.

    Attributes:
        tables: Further tables: the heading, and the figures that are its columns.
        curves: Curves to print as tables: the name of the curve, and the heading.
        not_run: Why the sweep has no result, for CLAIMS.md.
    """

    tables: Mapping[str, Sequence[str]] = {}
    curves: Mapping[str, str] = {}
    not_run: str = ""

    def keeps(self, name: str) -> bool:
        """Return whether the result of the sweep holds the figure ``name``."""
        figure = name.removeprefix("base.").removeprefix("student.").removeprefix("generated.")
        return not OPTIONAL.fullmatch(figure) or any(figure in columns for columns in self.tables.values())


def read_layout(sweep: Path) -> Layout:
    """Read the layout ``NAME.report.yaml`` of the sweep file ``NAME.yaml``; without that file the layout is empty.

    Raises:
        UserError: If a key is unknown.
    """
    path = sweep.with_suffix(".report.yaml")
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if unknown := found.keys() - set(KEYS):
        raise UserError(f"{path}: {min(unknown)}: no such key; allowed: {', '.join(KEYS)}")
    return Layout(**found)


def page(source: str, found: Mapping[str, Any], layout: Layout) -> str:
    """The page. ``source``: the sweep file, whose opening comment says what it is."""
    opening = [line.lstrip("# ") for line in source.splitlines() if line.startswith("#")]
    cores = f"{found['cores']} core{'s' * (found['cores'] != 1)} a run"
    machine = f"{found['cpu']}, {cores}" if found.get("cpu") else "a machine that was not recorded"
    commits = " and ".join(commit[:10] + "+" * commit.endswith("+") for commit in found["commits"])
    lines = [
        f"# {found['sweep']}", "", *opening[1:], "",
        f"    {found['command']}", "",
        f"{found['runs']} runs, {found['run_minutes']:.0f} minutes of runs in all, {found['date']}, {machine}, "
        f"Python {found['python']}, commit {commits}{UNCOMMITTED * ('+' in commits)}. "
        "Means over test problems and seeds, in per cent, with 95 % t intervals over both.", "",
    ]  # fmt: skip
    if found["missing"]:
        lines += [f"**Not finished: {len(found['missing'])} runs**, such as `{found['missing'][0]}`.", ""]
    for heading, names in {**TABLES, **layout.tables}.items():
        here = [name for name in names if any(name in row["figures"] for row in found["rows"])]
        if here:
            lines += [f"## {heading}", "", over(found, here), "", *table(found, here), ""]
    for name, heading in layout.curves.items():
        lines += [f"## {heading}", "", *curve(found["rows"], name), ""]
    lines += ["## Cost of a run", "", *costs(found), ""]
    return "\n".join(lines)


def table(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """An arm a row; where every row has the base model's figures, the base model first."""
    rows = []
    first = found["rows"][0]
    if any(f"base.{name}" in first["figures"] for name in names) and _one_base(found["rows"], names):
        rows.append(["base model", *(cell(first["figures"].get(f"base.{name}"), name) for name in names)])
    for row in found["rows"]:
        rows.append([arm(row["arm"]), *(cell(row["figures"].get(name), name) for name in names)])
    return grid(["", *(label(name) for name in names)], rows)


def over(found: Mapping[str, Any], names: Sequence[str]) -> str:
    """On how many problems (of each column, where they differ) and of how many attempts at each; ``generated`` is of
    training problems."""
    rows = found["rows"]
    given = all(name.startswith("generated.") for name in names)
    counts = [max(row["figures"][name]["problems"] for row in rows if name in row["figures"]) for name in names]
    counts = counts[:1] if len(set(counts)) == 1 else counts
    said = (
        f"{', '.join(map(str, counts))} {'training' if given else 'test'} problems{', by column' * (len(counts) > 1)}"
    )
    of = "generated.pass" if given else "pass"
    attempts = {int(row["curves"][of]["x"][-1]) for row in rows if of in row["curves"]}
    many = given or {name.removeprefix("student.") for name in names} & set(WIDE)
    return f"{said}, k = {attempts.pop()} attempts at each." if many and len(attempts) == 1 else f"{said}."


def curve(rows: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """A line of a figure as a table: an arm a row, a place a column; the base model first."""
    lines = {arm(row["arm"]): row["curves"][name] for row in rows if name in row["curves"]}
    bases = [row["curves"][f"base.{name}"] for row in rows if f"base.{name}" in row["curves"]]
    if bases and all(base["y"] == bases[0]["y"] for base in bases):
        lines = {"base model": bases[0], **lines}
    places = next(iter(lines.values()))["x"]
    told = [
        [f"{100 * y:.1f}" + f" [{100 * low:.1f}, {100 * high:.1f}]" * (len(places) <= SHORT)
         for y, low, high in zip(line["y"], line["low"], line["high"], strict=True)]
        for line in lines.values()
    ]  # fmt: skip
    return grid(["", *(f"{place:g}" for place in places)], [[who, *row] for who, row in zip(lines, told, strict=True)])


def _one_base(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bool:
    """Whether all arms began with one model."""
    means = [[row["figures"].get(f"base.{name}", {}).get("mean") for name in names] for row in rows]
    return all(mean == means[0] for mean in means)


def costs(found: Mapping[str, Any]) -> list[str]:
    """Means over seeds."""
    told = (
        "sampled_tokens",
        "orm_sampled_tokens",
        "episodes",
        "optimizer_steps",
        "seconds",
        "imitated",
        "generated_tokens",
    )
    keys = [key for key in told if any(row["cost"].get(key) for row in found["rows"])]
    rows = [
        [arm(row["arm"]), str(len(row["seeds"])), *(f"{row['cost'].get(key, 0):,.0f}" for key in keys)]
        for row in found["rows"]
    ]
    names = {"orm_sampled_tokens": "its reward model's"}
    return grid(["", "seeds", *(names.get(key, key.replace("_", " ")) for key in keys)], rows)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(line)} |" for line in (head, rule, *rows)]


def arm(parameters: Mapping[str, Any]) -> str:
    """An arm in words."""
    return ", ".join(f"{key}={value}" for key, value in parameters.items()) or "all"


def label(name: str) -> str:
    """A figure in words."""
    name = name.removeprefix("student.").removeprefix("generated.")
    if name.startswith("level"):
        return f"level {name.removeprefix('level').partition('.')[0]}"
    return f"Acc@t{name.removeprefix('acc_t')}" if name.startswith("acc_t") else LABELS.get(name, name)


def cell(figure: Mapping[str, Any] | None, name: str) -> str:
    """``12.3 [10.1, 14.6]``; points where it is a share."""
    if figure is None:
        return "–"
    by = 1 if name.split(".")[-1] in NUMBERS else 100
    mean, low, high = (figure[key] * by for key in ("mean", "low", "high"))
    sign = "+" if name.split(".")[-1] in SIGNED else ""
    return f"{mean:{sign}.1f} [{low:.1f}, {high:.1f}]"
