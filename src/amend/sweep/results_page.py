"""Write the page sweeps/X.md from sweeps/X.json: the command, the machine, and the tables with intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from amend.errors import UserError
from amend.results.analysis.metric_registry import LABELS, NUMBERS, SIGNED

TABLES = {  # heading -> figures; a page has those figures that its sweep has
    "Greedy": ("acc_t1", "acc_t2", "acc_t3", "delta", "i_to_c", "c_to_i", "fixed_t2", "fixed_i_to_c"),
    "How the second attempt relates to the first": ("change_rate", "copy_rate", "edit_distance", "unedited"),
    "Many first attempts at temperature 1": ("mean", "maj", "rerank", "pass", "unique"),
    "Majority vote over 32 attempts, and over 16 attempts that were each corrected once": (
        "parallel_32",
        "sequential_32",
    ),
    "Diversity of the first attempts": ("distinct_2", "vendi", "distinct_answers"),
    "Generated replies": ("generated.mean", "generated.unique", "generated.distinct_2", "generated.vendi"),
    "Right generated solutions per reply, and per token sampled in training or generation": (
        "generated.unique_per_reply",
        "generated.right_per_1000_tokens",
        "generated.unique_per_1000_tokens",
    ),
    "A student trained on the generated replies": ("student.acc_t1", "student.mean", "student.maj", "student.pass"),
    "The student's gain over the base model in mean accuracy at temperature 1": (
        "student.per_1000",
        "student.per_100k_tokens",
    ),
}
WIDE = ("mean", "maj", "rerank", "pass", "unique")  # figures of k attempts per problem
SHORT = 10  # largest number of columns with intervals; a page is too narrow for more
OPTIONAL = re.compile(
    r"(fix|break)_rate|auroc_t\d+|(step|token)_(error|predicted|excess)|level\d+\.acc_t\d+"
)  # figures that a result holds only if the layout of its sweep asks for them
KEYS = ("tables", "curves", "not_run")
UNCOMMITTED = " (+: with uncommitted changes)"


class Layout(NamedTuple):
    """The parts of a sweep's page in addition to the tables of every sweep.

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
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if unknown := content.keys() - set(KEYS):
        raise UserError(f"{path}: {min(unknown)}: no such key; allowed: {', '.join(KEYS)}")
    return Layout(**content)


def page(source: str, found: Mapping[str, Any], layout: Layout) -> str:
    """Return the page.

    Args:
        source: The text of the sweep file, whose first comment describes the sweep.
        found: The content of sweeps/X.json.
        layout: The parts of the page that only this sweep has.
    """
    opening = [line.lstrip("# ") for line in source.splitlines() if line.startswith("#")]
    cores = f"{found['cores']} core{'s' * (found['cores'] != 1)} per run"
    machine = f"{found['cpu']}, {cores}" if found.get("cpu") else "unknown machine"
    commits = " and ".join(commit[:10] + "+" * commit.endswith("+") for commit in found["commits"])
    lines = [
        f"# {found['sweep']}", "", *opening[1:], "",
        f"    {found['command']}", "",
        f"{found['runs']} runs, {found['run_minutes']:.0f} minutes in total, {found['date']}, {machine}, "
        f"Python {found['python']}, commit {commits}{UNCOMMITTED * ('+' in commits)}. "
        "The figures are means over test problems and seeds in per cent, with 95 % t intervals over both.", "",
    ]  # fmt: skip
    if found["missing"]:
        lines += [f"**Not finished: {len(found['missing'])} runs**, such as `{found['missing'][0]}`.", ""]
    for heading, names in {**TABLES, **layout.tables}.items():
        present = [name for name in names if any(name in row["figures"] for row in found["rows"])]
        if present:
            lines += [f"## {heading}", "", over(found, present), "", *table(found, present), ""]
    for name, heading in layout.curves.items():
        lines += [f"## {heading}", "", *curve(found["rows"], name), ""]
    lines += ["## Cost per run", "", *costs(found), ""]
    return "\n".join(lines)


def table(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return a table with one row per arm, after the base model if all arms start from the same base model.

    Args:
        found: The content of sweeps/X.json.
        names: The figures of the columns.
    """
    rows = []
    first = found["rows"][0]
    if any(f"base.{name}" in first["figures"] for name in names) and _has_one_base(found["rows"], names):
        rows.append(["base model", *(cell(first["figures"].get(f"base.{name}"), name) for name in names)])
    for row in found["rows"]:
        rows.append([arm(row["arm"]), *(cell(row["figures"].get(name), name) for name in names)])
    return grid(["", *(label(name) for name in names)], rows)


def over(found: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the number of problems and of attempts per problem as a sentence.

    If the columns have different numbers of problems, the text has the number of each column. Figures ``generated.*``
    are means over training problems.

    Args:
        found: The content of sweeps/X.json.
        names: The figures of the columns.
    """
    rows = found["rows"]
    is_generated = all(name.startswith("generated.") for name in names)
    counts = [max(row["figures"][name]["problems"] for row in rows if name in row["figures"]) for name in names]
    counts = counts[:1] if len(set(counts)) == 1 else counts
    split = "training" if is_generated else "test"
    problems = f"{', '.join(map(str, counts))} {split} problems{', by column' * (len(counts) > 1)}"
    curve_name = "generated.pass" if is_generated else "pass"
    attempts = {int(row["curves"][curve_name]["x"][-1]) for row in rows if curve_name in row["curves"]}
    has_k = is_generated or {name.removeprefix("student.") for name in names} & set(WIDE)
    return f"{problems}, k = {attempts.pop()} attempts each." if has_k and len(attempts) == 1 else f"{problems}."


def curve(rows: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """Return a curve as a table with one row per arm and one column per point.

    The base model is the first row if all arms start from the same base model.

    Args:
        rows: The rows of sweeps/X.json.
        name: Name of the curve.
    """
    lines = {arm(row["arm"]): row["curves"][name] for row in rows if name in row["curves"]}
    bases = [row["curves"][f"base.{name}"] for row in rows if f"base.{name}" in row["curves"]]
    if bases and all(base["y"] == bases[0]["y"] for base in bases):
        lines = {"base model": bases[0], **lines}
    points = next(iter(lines.values()))["x"]
    values = [
        [f"{100 * y:.1f}" + f" [{100 * low:.1f}, {100 * high:.1f}]" * (len(points) <= SHORT)
         for y, low, high in zip(line["y"], line["low"], line["high"], strict=True)]
        for line in lines.values()
    ]  # fmt: skip
    table_rows = [[line_name, *row] for line_name, row in zip(lines, values, strict=True)]
    return grid(["", *(f"{point:g}" for point in points)], table_rows)


def _has_one_base(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bool:
    """Return whether all arms start from the same base model."""
    means = [[row["figures"].get(f"base.{name}", {}).get("mean") for name in names] for row in rows]
    return all(mean == means[0] for mean in means)


def costs(found: Mapping[str, Any]) -> list[str]:
    """Return the table of costs, as means over seeds."""
    all_keys = (
        "sampled_tokens",
        "orm_sampled_tokens",
        "episodes",
        "optimizer_steps",
        "seconds",
        "imitated",
        "generated_tokens",
    )
    keys = [key for key in all_keys if any(row["cost"].get(key) for row in found["rows"])]
    rows = [
        [arm(row["arm"]), str(len(row["seeds"])), *(f"{row['cost'].get(key, 0):,.0f}" for key in keys)]
        for row in found["rows"]
    ]
    names = {"orm_sampled_tokens": "sampled tokens of its reward model"}
    return grid(["", "seeds", *(names.get(key, key.replace("_", " ")) for key in keys)], rows)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(line)} |" for line in (head, rule, *rows)]


def arm(parameters: Mapping[str, Any]) -> str:
    """Return the parameters of an arm as text."""
    return ", ".join(f"{key}={value}" for key, value in parameters.items()) or "all"


def label(name: str) -> str:
    """Return the label of a figure."""
    name = name.removeprefix("student.").removeprefix("generated.")
    if name.startswith("level"):
        return f"level {name.removeprefix('level').partition('.')[0]}"
    return f"Acc@t{name.removeprefix('acc_t')}" if name.startswith("acc_t") else LABELS.get(name, name)


def cell(figure: Mapping[str, Any] | None, name: str) -> str:
    """Return a figure as text, such as ``12.3 [10.1, 14.6]``; shares are in per cent."""
    if figure is None:
        return "–"
    unit = 1 if name.split(".")[-1] in NUMBERS else 100
    mean, low, high = (figure[key] * unit for key in ("mean", "low", "high"))
    sign = "+" if name.split(".")[-1] in SIGNED else ""
    return f"{mean:{sign}.1f} [{low:.1f}, {high:.1f}]"
