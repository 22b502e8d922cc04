"""Many runs from one file: plain W&B sweep files run here without an account, and what came of them is written down.

file      what a sweep file says          argv      the command line of one run, as wandb's own agent makes it
runner    run what is missing             multirun  the same as one ``python run.py -m ...`` for Hydra's launchers
result    sweeps/X.md and sweeps/X.json from the finished runs        claims   sweeps/CLAIMS.md from those
"""
