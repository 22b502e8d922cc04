"""Run W&B sweep files on this machine without an account, and write their results.

| module           | purpose                                                                     |
| ---------------- | --------------------------------------------------------------------------- |
| `spec`           | read a sweep file                                                           |
| `search`         | grid and random search                                                      |
| `bayes`          | Bayesian search                                                             |
| `command`        | build the command line of one run, as wandb's agent does                    |
| `plan`           | find the folder and the state of each run                                   |
| `runner`         | run the missing runs                                                        |
| `hydra_multirun` | print a sweep as one ``python run.py -m ...`` command for Hydra's launchers |
| `results`        | write sweeps/X.md and sweeps/X.json from the finished runs                  |
| `claims`         | write sweeps/CLAIMS.md from all sweeps/X.json                               |
"""
