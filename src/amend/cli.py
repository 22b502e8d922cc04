"""The command line: compose a configuration, check it, and run the job that it names.

Hydra composes conf/, and ``config.validate`` checks the result before torch is imported, so a mistake costs a third
of a
second. An error that only the user can correct ends with one line, which names the key, the value and what is allowed,
and with exit status 2. ``HYDRA_FULL_ERROR=1`` shows its traceback.
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
    """Compose from the command line, check, and run the job (or, with ``-m``, the jobs); the worst exit status."""
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
                raise  # in another process: it must reach this one
            print_error(error)

    sys.argv[1:] = expand_policy_shorthand(sys.argv[1:])
    try:
        with environment_variable(FULL_ERROR, "1"):  # Hydra then raises its exceptions, and we print them in one line
            hydra.main(config_path=str(config_dir()), config_name="config", version_base="1.3")(job)()
    except KeyboardInterrupt:
        print_error("interrupted")
        return INTERRUPTED
    except Exception as error:
        if wants_trace or (statuses and not isinstance(error, UserError)):
            raise  # a fault of ours, which one line would hide
        print_error(error if isinstance(error, UserError) else describe_hydra_error(error))
        return REFUSED
    return max(statuses, default=0)


def run_job(cfg: DictConfig) -> int:
    """Run the job ``cfg.job`` and return its exit status. A job is ``run(cfg)`` in ``amend/job/<name>.py``."""
    from amend.distributed import launch

    run = importlib.import_module(f"amend.job.{cfg.job}").run
    silence_libraries()  # after their import, which sets their log levels
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
    """Libraries keep to warnings; what a user must know amend says itself."""
    for name in ("pytorch_lightning", "lightning.pytorch", "transformers", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    import transformers

    transformers.utils.logging.disable_progress_bar()
