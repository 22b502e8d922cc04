"""The command line: compose a configuration, check it, and run the job that it names.

Hydra composes conf/, and ``config.validate`` checks the result. Both happen before the import of torch, so a mistake
costs a third of a second. An error that only the user can correct is printed as one line with the key, the value and
the allowed values. The exit status is then 2. ``HYDRA_FULL_ERROR=1`` prints the traceback.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from amend.config.command_line import expand_policy_shorthand, task_overrides
from amend.config.compose import config_dir
from amend.config.hydra_errors import describe_hydra_error
from amend.config.validate import validate_config
from amend.distributed.omp_wait_policy import configure_omp_wait_policy
from amend.errors import INTERRUPTED, REFUSED, UserError, print_error

FULL_ERROR = "HYDRA_FULL_ERROR"


def main() -> int:
    """Compose the configuration, check it, and run the job.

    With ``-m``, run several jobs.

    Returns:
        The largest exit status of the jobs.
    """
    wants_trace = FULL_ERROR in os.environ
    statuses: list[int] = []

    def job(cfg: DictConfig) -> None:
        statuses.append(REFUSED)
        try:
            validate_config(cfg)
            configure_omp_wait_policy()
            with environment_variable(FULL_ERROR, "1" if wants_trace else None):
                statuses[-1] = run_job(cfg)
        except UserError as error:
            if wants_trace or "basic" not in HydraConfig.get().launcher._target_:
                raise  # a job in another process must raise the error in this process
            print_error(error)

    sys.argv[1:] = expand_policy_shorthand(sys.argv[1:])
    try:
        with environment_variable(FULL_ERROR, "1"):  # makes Hydra raise its exceptions, so that amend prints them
            hydra.main(config_path=str(config_dir()), config_name="config", version_base="1.3")(job)()
    except KeyboardInterrupt:
        print_error("interrupted")
        return INTERRUPTED
    except Exception as error:  # fallback: print errors of Hydra as one line
        if wants_trace or (statuses and not isinstance(error, UserError)):
            raise  # a bug of amend needs its traceback
        print_error(error if isinstance(error, UserError) else describe_hydra_error(error))
        return REFUSED
    return max(statuses, default=0)


def run_job(cfg: DictConfig) -> int:
    """Run the job ``cfg.job`` and return its exit status.

    A job is the function ``run(cfg)`` in ``amend/job/<name>.py``.
    """
    from amend.distributed import launch

    run = importlib.import_module(f"amend.job.{cfg.job}").run
    silence_libraries()  # after the import, because the import sets the log levels
    if cfg.trainer.strategy == "single" or cfg.job not in ("train", "evaluate"):
        return int(run(cfg))
    with launch.one_process_per_device(
        cfg.trainer.accelerator, cfg.trainer.devices, cfg.trainer.nodes, task_overrides()
    ):
        return int(run(cfg))


@contextmanager
def environment_variable(name: str, value: str | None) -> Iterator[None]:
    """Set an environment variable, or remove it if ``value`` is None, and restore it at the end."""
    before = os.environ.get(name)
    try:
        _set_variable(name, value)
        yield
    finally:
        _set_variable(name, before)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def silence_libraries() -> None:
    """Hide the progress bars of transformers, and all messages of Lightning and transformers below errors."""
    for name in ("pytorch_lightning", "lightning.pytorch", "transformers", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    import transformers

    transformers.utils.logging.disable_progress_bar()
