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
# # From a problem to a report
#
# What amend does, once through, in half a minute: a problem, two attempts at it, what SCoRe pays for them, a run, and
# what the run says of itself. Nothing is downloaded. `scale=smoke` is a size at which everything works and nothing is
# learnt; `python run.py algo=score task=math` is the real thing, a few minutes on a laptop.

# %%
import os
import subprocess
import sys

import torch
from hydra import compose, initialize_config_dir
from IPython.display import SVG, Markdown, display

from amend.components import build_components
from amend.config.compose import config_dir
from amend.ops.advantages import shaping_bonus
from amend.results.analysis.run_extract import gather
from amend.results.analysis.study import study
from amend.results.report.charts.export import export_charts
from amend.results.report.export import table
from amend.results.run_folder.reader import read_run, run_folders
from amend.types import SamplingParams

# %% [markdown]
# ## A problem, and two attempts
#
# The built-in model answers, is told that there may be an error, and answers again. A task knows how to check an
# attempt and knows no model; a dialogue knows what is said in between.

# %%
with initialize_config_dir(str(config_dir()), version_base="1.3"):
    cfg = compose("config", overrides=["scale=smoke", "trainer.threads=1"])
made = build_components(cfg)
problem = made.task.problems("test")[5]
episode = made.runner([problem], 1, [SamplingParams(0.0, 40)] * 2, (0,))[0]
print(problem.question, "   gold:", problem.answer)
for turn in episode.turns:
    verdict = made.task.grade(problem, turn.reply.text)
    print(f"{turn.reply.text!r:60} {'right' if verdict.correct else 'wrong'}")

# %% [markdown]
# ## What SCoRe pays for them
#
# Right or wrong at each turn, in all four combinations. The second turn is paid its own reward and a bonus for
# progress, `r2 + alpha (r2 - r1)`; the bonus never reaches the first turn, or starting wrong would pay.

# %%
rewards = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
paid = shaping_bonus(rewards, alpha=10.0)
lines = [f"| {r1:.0f} | {r2:.0f} | {p1:.0f} | {p2:.0f} |" for (r1, r2), (p1, p2) in zip(rewards.tolist(), paid.tolist())]
Markdown("\n".join(["| r1 | r2 | turn 1 is paid | turn 2 is paid |", "|--|--|--|--|", *lines]))

# %% [markdown]
# ## A run
#
# The same command that a shell would be given. It leaves a folder; everything below is read from it.

# %%
command = ["../run.py", "algo=score", "task=math", "scale=smoke", "logger=none", "trainer.threads=1"]
said = subprocess.run([sys.executable, *command], capture_output=True, text=True)
assert said.returncode == 0, said.stderr
folder = max(run_folders(["runs/math/score"]), key=os.path.getmtime)
print(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))

# %% [markdown]
# ## What it says
#
# Every figure has its interval, and 32 problems make it wide: this run shows nothing but that everything works.

# %%
found = study([folder], gather([folder]))
for sheet in found.sheets[:1]:
    display(Markdown(table(found, sheet)))
drawn = export_charts(read_run(folder))
display(SVG(drawn["training_accuracy"]))

# %% [markdown]
# `report.html` in the same folder has all of it and a browser of every attempt; `python run.py job=report
# runs=... out=...` writes one page of many runs.
