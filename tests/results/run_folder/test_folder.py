"""Run folders: never shared, never overwritten, whole after any death, and one line where the user must act."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from omegaconf import DictConfig

from amend.config.compose import compose_config
from amend.errors import UserError
from amend.logger.make import build_logger
from amend.results.run_folder import folder
from amend.results.run_folder.folder import RunFolder
from amend.results.run_folder.naming import config_hash, run_path


def configuration(runs: Path, *overrides: str) -> DictConfig:
    return compose_config([f"runs_dir={runs}", "logger=none", *overrides])


@pytest.fixture
def cfg(tmp_path: Path) -> DictConfig:
    return configuration(tmp_path / "runs")


# names --------------------------------------------------------------------------------------------------------------


def test_a_folder_says_what_it_is(cfg: DictConfig, tmp_path: Path) -> None:
    with RunFolder.create(cfg) as folder:
        assert folder.path == tmp_path / "runs" / "math" / "score" / f"{config_hash(cfg)}-s0"
        assert len(config_hash(cfg)) == 8
        versions = json.loads((folder.path / "versions.json").read_text())
        assert versions["packages"]["torch"]
        assert versions["python"] == sys.version.split()[0]
        assert (folder.path / "config.yaml").read_text().count("shaping_coef: 10.0") == 1
        assert "${" not in (folder.path / "config.yaml").read_text()


def test_the_hash_is_of_what_decides_the_outcome(tmp_path: Path) -> None:
    base = config_hash(configuration(tmp_path))
    for same in ("seed=3", "resume=true", "logger=csv", f"runs_dir={tmp_path / 'elsewhere'}"):
        assert config_hash(configuration(tmp_path, same)) == base
    for other in ("algo.shaping_coef=3", "scale.group_size=9", "task.test=500", "policy.autocast='on'", "job=evaluate"):
        assert config_hash(configuration(tmp_path, other)) != base
    assert config_hash(configuration(tmp_path, "algo.num_iterations=200")) == config_hash(
        configuration(tmp_path, "scale.num_iterations=200")
    )


def test_a_taken_name_gets_a_number(cfg: DictConfig) -> None:
    names = []
    for _ in range(3):
        with RunFolder.create(cfg) as folder:
            names.append(folder.path.name)
    assert names == [run_path(cfg).name, f"{run_path(cfg).name}-2", f"{run_path(cfg).name}-3"]


def test_two_at_once_never_share(cfg: DictConfig) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: RunFolder.create(cfg), range(16)))
    assert len({folder.path for folder in folders}) == 16
    for one in folders:
        one.__exit__(None, None, None)


# resume -------------------------------------------------------------------------------------------------------------


def test_resume_takes_the_newest_unfinished(cfg: DictConfig) -> None:
    paths = []
    for number in range(3):
        with RunFolder.create(cfg) as folder:
            os.utime(folder.path / "config.yaml", (number, number))
            paths.append(folder.path)
    (paths[2] / ".finished").touch()
    with RunFolder.resume(cfg) as folder:
        assert folder.path == paths[1]


def test_resume_needs_something_unfinished(cfg: DictConfig) -> None:
    with pytest.raises(UserError, match="no unfinished run, there is no"):
        RunFolder.resume(cfg)
    with RunFolder.create(cfg) as folder:
        folder.finish()
    with pytest.raises(UserError, match="is finished"):
        RunFolder.resume(cfg)


def test_resume_keeps_away_from_another_seed_and_configuration(tmp_path: Path) -> None:
    with RunFolder.create(configuration(tmp_path, "seed=1")):
        pass
    with pytest.raises(UserError):
        RunFolder.resume(configuration(tmp_path, "seed=11"))
    with pytest.raises(UserError):
        RunFolder.resume(configuration(tmp_path, "seed=1", "algo.shaping_coef=3"))
    with RunFolder.resume(configuration(tmp_path, "seed=1", "resume=true", "logger=csv")) as folder:
        assert folder.path.name.endswith("-s1")


def test_resume_keeps_away_from_a_living_run_and_not_from_a_killed_one(cfg: DictConfig) -> None:
    """The lock is the kernel's: kill -9 drops it, even while a forked child of the run lives on."""
    code = textwrap.dedent(
        """
        import os, sys, time
        from omegaconf import OmegaConf
        from amend.results.run_folder.folder import RunFolder
        folder = RunFolder.create(OmegaConf.load(sys.argv[1]))
        child = os.fork()
        if child == 0:
            os.close(1)
            time.sleep(60)
            os._exit(0)
        print(child, flush=True)
        time.sleep(60)
        """
    )
    saved = Path(cfg.runs_dir).parent / "cfg.yaml"
    from omegaconf import OmegaConf

    OmegaConf.save(cfg, saved, resolve=True)
    run = subprocess.Popen([sys.executable, "-c", code, str(saved)], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    child = int(run.stdout.readline())
    try:
        with pytest.raises(UserError, match="in use by another process"):
            RunFolder.resume(cfg)
        run.kill()
        run.wait()
        with RunFolder.resume(cfg) as folder:
            assert folder.path == run_path(cfg)
    finally:
        os.kill(child, signal.SIGKILL)
        run.kill()
        run.stdout.close()


# files --------------------------------------------------------------------------------------------------------------


def test_lines_are_cut_to_the_checkpoint(cfg: DictConfig) -> None:
    with RunFolder.create(cfg) as folder:
        for number in range(1, 6):
            folder.append("metrics.jsonl", {"iteration": number, "loss": number / 3})
            folder.append("timing.jsonl", {"iteration": number})
        whole = (folder.path / "metrics.jsonl").read_bytes()
        with (folder.path / "metrics.jsonl").open("ab") as file:
            file.write(b'{"iteration": 6, "lo')  # as a kill leaves it
        folder.truncate(3)
        assert (folder.path / "metrics.jsonl").read_bytes() == b"".join(whole.splitlines(keepends=True)[:3])
        assert len((folder.path / "timing.jsonl").read_text().splitlines()) == 3
        for number in (4, 5):
            folder.append("metrics.jsonl", {"iteration": number, "loss": number / 3})
        assert (folder.path / "metrics.jsonl").read_bytes() == whole
        folder.truncate(0)
        assert (folder.path / "metrics.jsonl").read_bytes() == b""


def test_numbers_are_json(cfg: DictConfig) -> None:
    import numpy as np

    with RunFolder.create(cfg) as folder:
        folder.append("metrics.jsonl", {"iteration": np.int64(1), "loss": float("nan"), "kl": np.float32(0.5)})
        assert json.loads((folder.path / "metrics.jsonl").read_text()) == {"iteration": 1, "loss": None, "kl": 0.5}


def test_a_file_is_whole_or_not_there(cfg: DictConfig) -> None:
    def fails(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with RunFolder.create(cfg) as folder:
        folder.write_json("summary.json", {"a": 1})
        with pytest.raises(UserError, match="the disk is full") as caught:
            folder.write("summary.json", fails)
        assert "summary.json" in str(caught.value)
        assert json.loads((folder.path / "summary.json").read_text()) == {"a": 1}
        assert not list(folder.path.glob("*.writing")) + list(folder.path.glob(".*.writing"))


def test_a_full_disk_is_one_line(cfg: DictConfig) -> None:
    """/dev/full refuses every byte with ENOSPC, as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with RunFolder.create(cfg) as folder:
        (folder.path / "metrics.jsonl").symlink_to("/dev/full")
        with pytest.raises(UserError, match=r"metrics.jsonl.*the disk is full"):
            folder.append("metrics.jsonl", {"iteration": 1})


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EROFS, "read-only"), (errno.EACCES, "permission denied"), (errno.EDQUOT, "quota")]
)
def test_what_the_system_refuses_is_one_line(
    cfg: DictConfig, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(path: str, mode: int = 0o777) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(folder.os, "mkdir", refuse)
    with pytest.raises(UserError, match=words) as caught:
        RunFolder.create(cfg)
    assert str(Path(cfg.runs_dir)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_runs_dir_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match=r"a part of that path is a file|cannot be written"):
        RunFolder.create(configuration(tmp_path / "runs"))


# loggers ------------------------------------------------------------------------------------------------------------


def test_csv_goes_on_where_a_resumed_run_does(cfg: DictConfig, tmp_path: Path) -> None:
    cfg = configuration(tmp_path / "runs", "logger=csv")
    with RunFolder.create(cfg) as folder:
        first = build_logger(cfg, folder.path)
        for step in (1, 2, 3):
            first.log({"iteration": step, "loss": step / 10}, step)
        again = build_logger(cfg, folder.path)
        again.log({"iteration": 2, "loss": 9.0}, 2)
        lines = (folder.path / "metrics.csv").read_text().split()
    assert lines == ["step,iteration,loss", "1,1,0.1", "2,2,9.0"]
    assert first.errors == again.errors == 0


def test_logging_never_breaks_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cfg = configuration(tmp_path / "runs", "logger=csv")
    broken = build_logger(cfg, tmp_path / "no" / "such" / "folder")
    for step in (1, 2, 3):
        broken.log({"iteration": step}, step)
    broken.finish({}, {})
    assert broken.errors == 3
    assert len([record for record in caplog.records if "the run continues" in record.message]) == 1


def test_wandb_offline_keeps_all_runs_in_one_folder_and_nothing_at_home(tmp_path: Path) -> None:
    """In a process of its own: wandb keeps state, and a HOME of its own shows what it writes there."""
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from omegaconf import OmegaConf
        from amend.logger.make import build_logger
        from amend.results.run_folder.folder import RunFolder
        cfg = OmegaConf.load(sys.argv[1])
        for _ in range(2):
            with RunFolder.create(cfg) as folder:
                made = build_logger(cfg, folder.path)
                made.log({"iteration": 1, "loss": 0.5}, 1)
                made.finish({"algo": "score"}, {"problem": ["a"], "answer": [None]})
                assert made.errors == 0
        """
    )
    from omegaconf import OmegaConf

    cfg = configuration(tmp_path / "runs", "logger=wandb_offline")
    OmegaConf.save(cfg, tmp_path / "cfg.yaml", resolve=True)
    home_dir = tmp_path / "home"
    home_dir.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")} | {"HOME": str(home_dir)}
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cfg.yaml")],
        capture_output=True, text=True, env=environment, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert said.stdout == ""
    assert len(list((tmp_path / "runs" / "wandb").glob("offline-run-*/*.wandb"))) == 2
    assert [path for path in home_dir.rglob("*") if path.is_file()] == []
