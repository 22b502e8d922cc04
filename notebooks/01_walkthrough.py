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
# This notebook walks through amend in half a minute: a problem, two attempts, the rewards that SCoRe gives, a run, and the
# report of the run. It downloads nothing. `scale=smoke` is a size at which everything works and the model learns nothing;
# `python run.py algo=score task=math` is a real run of a few minutes on a laptop.

# %%
import os
import subprocess
import sys

import torch
from hydra import compose, initialize_config_dir
from IPython.display import SVG, Markdown, display

from amend.cli import silence_libraries
from amend.components import build_components
from amend.config.compose import config_dir
from amend.ops.advantages import add_shaping_bonus
from amend.results.analysis.run_extract import gather
from amend.results.analysis.study import study
from amend.results.report.charts.export import export_charts
from amend.results.report.export import table
from amend.results.run_folder.reader import read_run, run_folders
from amend.types import SamplingParams

# %% [markdown]
# ## A problem, and two attempts
#
# The built-in model answers, reads an instruction that there may be an error, and answers again. The task grades an attempt
# and knows no model. The dialogue writes the message between the attempts.

# %%
silence_libraries()
with initialize_config_dir(str(config_dir()), version_base="1.3"):
    cfg = compose("config", overrides=["scale=smoke", "trainer.threads=1"])
components = build_components(cfg)
problem = components.task.problems("test")[5]
episode = components.runner([problem], 1, [SamplingParams(0.0, 40)] * 2, (0,))[0]
print(problem.question, "   gold:", problem.target)
for turn in episode.turns:
    verdict = components.task.grade(problem, turn.reply.text)
    print(f"{turn.reply.text!r:60} {'right' if verdict.correct else 'wrong'}")

# %% [markdown]
# ## The rewards of SCoRe
#
# The table has all four combinations of a right and a wrong attempt. The second turn receives its own reward and a bonus for
# progress, `r2 + alpha (r2 - r1)`. The first turn receives no bonus; otherwise a wrong first attempt would be rewarded.

# %%
rewards = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
shaped = add_shaping_bonus(rewards, alpha=10.0)
lines = [f"| {r1:.0f} | {r2:.0f} | {p1:.0f} | {p2:.0f} |" for (r1, r2), (p1, p2) in zip(rewards.tolist(), shaped.tolist())]
Markdown("\n".join(["| r1 | r2 | reward of turn 1 | reward of turn 2 |", "|--|--|--|--|", *lines]))

# %% [markdown]
# ## A run
#
# The next cell runs the command that one types in a shell. The run writes a folder, from which everything below is read.

# %%
command = ["../run.py", "algo=score", "task=math", "scale=smoke", "logger=none", "trainer.threads=1"]
said = subprocess.run([sys.executable, *command], capture_output=True, text=True)
assert said.returncode == 0, said.stderr
folder = max(run_folders(["runs/math/score"]), key=os.path.getmtime)
print(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))

# %% [markdown]
# ## The report
#
# Every figure has an interval, which is wide with 32 problems: this run shows only that everything works.

# %%
found = study([folder], gather([folder]))
for sheet in found.sheets[:1]:
    display(Markdown(table(found, sheet)))
drawn = export_charts(read_run(folder))
display(SVG(drawn["training_accuracy"]))

# %% [markdown]
# `report.html` in the same folder has all figures and a browser of every attempt. `python run.py job=report
# runs=... out=...` writes one page about many runs.
