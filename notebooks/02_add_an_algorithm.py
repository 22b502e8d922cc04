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
# # Add an algorithm
#
# One file and one YAML; nothing else is touched, and no list names it. This notebook writes the two files that the
# README shows into a copy of the project, trains with them, and draws what came out beside REINFORCE.

# %%
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from IPython.display import SVG, Markdown, display

from amend.results.analysis.run_extract import gather
from amend.results.analysis.study import study
from amend.results.report.charts.export import export_chart
from amend.results.report.html.study_page import charts
from amend.results.run_folder.reader import run_folders

# %% [markdown]
# ## The two files
#
# An algorithm says how much better each token was than expected (`credit`) and what is minimised at each token
# (`loss`). This one expects the median of a problem's rewards.

# %%
readme = Path("../README.md").read_text(encoding="utf-8").partition("## Add an algorithm")[2]
code, choice = (re.search(rf"```{kind}\n(.*?)```", readme, re.DOTALL)[1] for kind in ("python", "yaml"))
display(Markdown(f"```python\n{code}```"), Markdown(f"```yaml\n{choice}```"))

# %% [markdown]
# ## A copy of the project, with them in it

# %%
copy = Path("runs/copy")
shutil.rmtree(copy, ignore_errors=True)
for part in ("src", "conf"):
    shutil.copytree(Path("..") / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
shutil.copy("../run.py", copy)
(copy / "src/amend/algo/median.py").write_text(code, encoding="utf-8")
_ = (copy / "conf/algo/median.yaml").write_text(choice, encoding="utf-8")

# %% [markdown]
# ## It trains, and its knobs are checked
#
# A mistake ends in one line that names the key, the value and what is allowed.

# %%
environment = {**os.environ, "PYTHONPATH": "src"}
size = ["scale=smoke", "debug=fast", "logger=none", "trainer.threads=1"]
for words in (["algo=median", "algo.lr=ten"], ["algo=median", *size], ["algo=reinforce", *size]):
    said = subprocess.run(
        [sys.executable, "run.py", *words], cwd=copy, env=environment, capture_output=True, text=True
    )
    print(" ".join(words[:2]), "->", said.stderr.strip().splitlines()[-1] if said.returncode else "trained")

# %% [markdown]
# ## Beside REINFORCE
#
# Two rounds are no result; the same cell draws the real one after `scale=laptop`.

# %%
folders = run_folders([str(copy / "runs")])
found = study(folders, gather(folders))
SVG(export_chart(charts(found)["acc_t2"]))
