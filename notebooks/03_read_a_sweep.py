# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: -all
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
# ---

# %% [markdown]
# # Read a sweep
#
# Each sweep file `sweeps/X.yaml` reproduces one table or figure of a paper. Its result is `sweeps/X.json`, which a command
# wrote from finished runs, with command, machine and date. This notebook reads the committed results and runs nothing.

# %%
import json
from pathlib import Path

import numpy as np
from IPython.display import SVG, Markdown, display

from amend.results.report.charts.chart import IntervalChart, LineChart
from amend.results.report.charts.export import svg_file

results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path("../sweeps").glob("*.json"))}
for name, found in results.items():
    arms, seeds = len(found["rows"]), max(len(row["seeds"]) for row in found["rows"])
    print(f"{name}: {arms} arms, {seeds} seeds, {found['run_minutes']} minutes of runs, {found['date']}")
print(f"{len(results)} of {len(list(Path('../sweeps').glob('*_*.yaml')))} sweeps have a committed result.")

# %% [markdown]
# ## Which claims hold
#
# `python -m amend.sweep.claims` writes `CLAIMS.md` from the same data.

# %%
claims = Path("../sweeps/CLAIMS.md")
Markdown(claims.read_text(encoding="utf-8") if claims.exists() else "No claims are written yet.")

# %% [markdown]
# ## Every arm with its interval
#
# The mean over problems and seeds, with its t interval over both. If two intervals overlap widely, the data do not show which
# arm is better. The list may name any other sweep.

# %%
shown = ["score_methods", "score_ablations", "reason_algorithms", "noise_lines"]
for name, found in ((name, results[name]) for name in shown if name in results):
    names = [" ".join(f"{key.split('.')[-1]}={value}" for key, value in row["arm"].items()) or name for row in found["rows"]]
    for figure, title in (("acc_t2", "Acc@t2"), ("delta", "Δ(t1,t2)"), ("pass", "pass@k")):
        rows = {
            arm: (one["mean"], one["low"], one["high"])
            for arm, row in zip(names, found["rows"])
            if (one := row["figures"].get(figure)) is not None
        }
        if rows:
            chart = IntervalChart(f"{name}: {title}", rows, {arm: i for i, arm in enumerate(rows)}, None)
            display(Markdown(f"**{name}**: {title}"), SVG(svg_file(chart)))
            break

# %% [markdown]
# ## Curves
#
# Training accuracy against sampled tokens, averaged over the seeds. Arms that sampled fewer tokens end earlier.

# %%
for name, found in ((name, results[name]) for name in shown if name in results):
    names = [" ".join(f"{key.split('.')[-1]}={value}" for key, value in row["arm"].items()) or name for row in found["rows"]]
    lines = {arm: row["curves"]["learning"] for arm, row in zip(names, found["rows"]) if "learning" in row["curves"]}
    lines = {arm: line for arm, line in lines.items() if line["x"][-1] > 0}  # an algorithm that samples nothing stays at zero
    if lines:
        x = np.linspace(0, max(line["x"][-1] for line in lines.values()), 60)
        inside = {arm: (x >= line["x"][0]) & (x <= line["x"][-1]) for arm, line in lines.items()}
        read = {arm: np.interp(x, line["x"], line["y"]) for arm, line in lines.items()}
        series = {arm: [float(y) if seen else None for y, seen in zip(read[arm], inside[arm])] for arm in lines}
        places = {arm: i for i, arm in enumerate(series)}
        display(Markdown(f"**{name}**"))
        display(SVG(svg_file(LineChart(name, x.tolist(), "sampled tokens", series, "", [], places=places))))
