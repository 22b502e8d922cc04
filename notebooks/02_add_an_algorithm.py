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
# An algorithm is one Python file and one YAML file. No other file changes, and no list names it. This notebook writes
# the two files of the README into a copy of the project, trains with them, and compares the result with REINFORCE.

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
from amend.results.report.charts.export import svg_file
from amend.results.report.html.study_page import charts
from amend.results.run_folder.reader import run_folders

# %% [markdown]
# ## The two files
#
# An algorithm computes an advantage for each token (`advantages`) and a loss for each token (`loss`). This one uses the
# median reward of a problem as the baseline.

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
# ## It trains, and its keys are checked
#
# A wrong value ends in one line that names the key, the value and what is allowed.

# %%
environment = {**os.environ, "PYTHONPATH": "src"}
size = ["scale=smoke", "debug=fast", "logger=none", "trainer.threads=1"]
for words in (["algo=median", "algo.lr=ten"], ["algo=median", *size], ["algo=reinforce", *size]):
    said = subprocess.run(
        [sys.executable, "run.py", *words], cwd=copy, env=environment, capture_output=True, text=True
    )
    print(" ".join(words[:2]), "->", said.stderr.strip().splitlines()[-1] if said.returncode else "trained")

# %% [markdown]
# ## Comparison with REINFORCE
#
# Two iterations are no result. The same cell plots a real comparison after a run with `scale=laptop`.

# %%
folders = run_folders([str(copy / "runs")])
found = study(folders, gather(folders))
SVG(svg_file(charts(found)["acc_t2"]))
