"""What may be configured, and what a user reads who got it wrong (law 8)."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from config_files import CONF, EVERY, FILES, NEEDED, ROOT
from omegaconf import DictConfig, OmegaConf

from amend import value_types
from amend.config import command_line, compose, cross_checks, schema, validate
from amend.errors import UserError


@pytest.fixture(autouse=True)
def everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optional extras are taken to be there: what is refused without them has its own test."""
    monkeypatch.setattr(cross_checks, "is_installed", lambda library: True)


def composed(*overrides: str) -> DictConfig:
    return compose.compose_config(overrides)


def refused(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        validate.validate_config(composed(*overrides))
    line = str(caught.value)
    assert "\n" not in line
    return line


# every file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_every_file_composes_and_passes_the_check(name: str) -> None:
    group, choice = name.split("/")
    overrides = [f"{group}={choice}", *NEEDED.get(name, [])]
    cfg = composed(*overrides)
    validate.validate_config(cfg)
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize("name", [name for name in FILES if name.split("/")[0] in schema.GROUPS])
def test_keys_are_the_parameters(name: str) -> None:
    """Exactly: a key that no parameter reads, or a default that lives in code, is a fault."""
    group, choice = name.split("/")
    node = composed(f"{group}={choice}", *NEEDED.get(name, []))[group]
    if group == "reward":
        for part, values in node.items():
            assert set(values) - {"_target_"} == set(schema.target_fields(values["_target_"])), part
    elif group in schema.TARGET_GROUPS:
        beside = {*schema.TARGET_KEYS, "tasks"} if name == "task/mixture" else set(schema.TARGET_KEYS)
        assert set(node) - beside == set(schema.target_fields(node["_target_"]))
    else:
        assert set(node) == set(schema.group_fields(group))


def test_top_keys_are_the_schema() -> None:
    assert set(composed()) == {*schema.group_fields(""), *schema.GROUPS}


TARGETS = sorted(
    {found for name in FILES for found in re.findall(r"_target_: (\S+)", (CONF / f"{name}.yaml").read_text())}
)


@pytest.mark.parametrize("target", TARGETS)
def test_targets_have_no_defaults(target: str) -> None:
    """Each default is stated once, in conf/."""
    node = schema.find_definition(target).node
    functions = (
        [node] if isinstance(node, ast.FunctionDef) else [n for n in node.body if isinstance(n, ast.FunctionDef)]
    )
    for function in functions:
        if function is node or function.name == "__init__":
            assert not [default for default in function.args.kw_defaults if default is not None]


@pytest.mark.parametrize("name", ["config", *EVERY])
def test_every_file_opens_with_the_command_that_uses_it(name: str) -> None:
    lines = (CONF / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    if lines[0].startswith("# @package"):
        lines = lines[1:]
    assert lines[0].startswith("# python run.py ")
    group, _, choice = name.partition("/")
    words = shlex.split(re.split(r"\s{3,}", lines[0].removeprefix("# python run.py "))[0])
    used = f"{group}={choice}" in words or words in ([f"job={group}"], [f"job=train_{group}"])
    if group == "scale_task":
        used = [f"{part}={value}" for part, value in zip(("scale", "task"), choice.split("_"), strict=True)] == words
    assert not choice or group == "loop" or used
    validate.validate_config(
        composed(*words, *(NEEDED.get(name, []) if not any("path=" in word for word in words) else []))
    )


# the lines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["algo.shaping_coef=ten"], ["algo.shaping_coef=ten", "not a number", "allowed: a number >= 0"]),
        (["algo.shaping_coef=-1"], ["algo.shaping_coef=-1", "out of range"]),
        (["algo.shaping_coef=nan"], ["algo.shaping_coef=", "not a number"]),
        (["algo.group_size=2.5"], ["algo.group_size=2.5", "not a whole number"]),
        (["algo.group_size=true"], ["algo.group_size=true", "not a whole number"]),
        (["algo.gamma=1.5"], ["algo.gamma=1.5", "from 0 to 1"]),
        (["algo.kl=exct"], ["algo.kl=exct", "did you mean exact?", "k2 or k1_in_reward"]),
        (["algo.adaptive_beta2=3"], ["algo.adaptive_beta2=3", "true or false"]),
        (
            ["+algo.shaping_ceof=3"],
            ["algo.shaping_ceof=3", "no such key in conf/algo/score.yaml", "did you mean algo.shaping_coef?"],
        ),
        (["~algo.shaping_coef"], ["algo.shaping_coef", "missing", "conf/algo/score.yaml"]),
        (["~algo"], ["algo=", "allowed: best_of_n, dpo"]),
        (["job=trian"], ["job=trian", "did you mean train?", "evaluate"]),
        (["seed=-1"], ["seed=-1", ">= 0"]),
        (["seed=abc"], ["seed=abc", "a whole number"]),
        (["resume=maybe"], ["resume=maybe", "true or false"]),
        (["+sede=1"], ["sede=1", "did you mean seed?"]),
        (["policy=hf"], ["policy.path", "not set"]),
        (["policy=hf", "policy.path=./nowhere"], ["policy.path=./nowhere", "no such folder"]),
        (["policy.dtype=float16"], ["policy.dtype=float16", "float32 or bfloat16"]),
        (["reward.oracle.weight=x"], ["reward.oracle.weight=x", "not a number"]),
        (["+reward.nope.weight=1"], ["reward.nope", "_target_"]),
        (["~reward.oracle"], ["reward={}", "at least one"]),
        (["trainer.devices=2"], ["trainer.devices=2", "one process", "trainer=ddp"]),
        (["trainer.nodes=2"], ["trainer.nodes=2", "one process"]),
        (["trainer=ddp", "trainer.devices=all"], ["trainer.devices=all", "a whole number", "auto"]),
        (["rollout=vllm", "trainer=ddp"], ["rollout=vllm", "trainer.strategy=ddp", "allowed: rollout=local", "single"]),
        (["rollout=hf", "trainer.strategy=fsdp"], ["rollout=hf", "trainer.strategy=fsdp", "single or ddp"]),
        (["rollout=vllm", "trainer.accelerator=cpu"], ["rollout=vllm", "allowed: trainer.accelerator=gpu or auto"]),
        (["rollout=vllm", "rollout.importance_sampling_cap=0"], ["rollout.importance_sampling_cap=0", "> 0 or null"]),
        (["rollout=local", "+rollout.importance_sampling_cap=2"], ["no such key in conf/rollout/local.yaml"]),
        (["trainer=ddp", "job=pretrain"], ["trainer.strategy=ddp", "job=pretrain", "allowed: single"]),
        (["trainer=fsdp", "task=gsm8k", "task.calculator=true"], ["task.calculator=true", "fsdp", "allowed: false"]),
        (
            ["trainer=fsdp", "orm.train_if_missing=true"],
            ["orm.train_if_missing=true", "trainer.strategy=fsdp", "allowed: false"],
        ),
        (
            ["algo.num_iterations=${scale.nope}"],
            ["algo.num_iterations=${scale.nope}", "scale.nope", "set algo.num_iterations"],
        ),
        (["dialogue=single"], ["algo.turns=${dialogue.turns}", "set algo.turns itself"]),
        (["logger.tags=[1]"], ["logger.tags=[1]", "each text"]),
        (["trainer.max_reward_error_rate=2"], ["trainer.max_reward_error_rate=2", "from 0 to 1"]),
        (["pretrain.habits.luck=2"], ["pretrain.habits.luck=2", "from 0 to 1"]),
        (["+pretrain.habits.luk=0.1"], ["pretrain.habits.luk", "did you mean pretrain.habits.luck?"]),
        (["pretrain.shape=3"], ["pretrain.shape=3", "not a mapping", "hidden_size"]),
        # several values at once
        (["algo.group_size=1", "algo.baseline=problem"], ["algo.group_size=1", "algo.baseline=problem", ">= 2"]),
        (["algo=grpo", "algo.group_size=1"], ["algo.group_size=1", "algo=grpo", ">= 2"]),
        *(
            ([f"algo={name}", "algo.group_size=1"], ["algo.group_size=1", f"algo={name}", ">= 2"])
            for name in ("rloo", "multi_turn", "single_turn", "dpo", "pair_sft")
        ),
        (["algo.num_minibatches=9999"], ["algo.num_minibatches=9999", "episodes"]),
        (["algo.turns=3"], ["algo.turns=3", "1 to 2", "dialogue.turns"]),
        (["algo.stage1_iterations=101", "algo.num_iterations=100"], ["algo.stage1_iterations=101", "0 to 100"]),
        (
            ["dialogue.turns=3", "algo.num_iterations=9", "algo.stage1_iterations=5"],
            ["algo.stage1_iterations=5", "2 parts", "0 to 4"],
        ),
        (["algo.baseline=context", "algo.gamma=0.5"], ["algo.baseline=context", "algo.gamma=0.5"]),
        (
            ["prefill=base_attempt", "algo.turns=1", "algo.stage1_iterations=0"],
            ["prefill=base_attempt", "algo.turns=1"],
        ),
        (
            ["algo=dpo", "algo.pairs=corrections", "algo.turns=2", "prefill=base_attempt"],
            ["prefill.share=0.5", "1 first attempt", "allowed: prefill=none, or a larger prefill.share"],
        ),
        (
            ["algo=reinforce", "algo.turns=2", "algo.group_size=1", "algo.baseline=none", "prefill=base_attempt"],
            ["prefill.share=0.5", "1 first attempt"],
        ),
        (
            ["algo=grpo", "algo.turns=1", "reward=progress"],
            ["reward=progress", "algo.turns=1", "allowed: reward=oracle"],
        ),
        (
            ["algo=grpo", "algo.turns=1", "reward=orm_dense"],
            ["reward.orm.use=difference", "algo=grpo", "allowed: sparse, value, or algo=ppo"],
        ),
        (["algo=dpo", "entropy=bonus"], ["entropy=bonus", "algo=dpo", "allowed: entropy=none"]),
        (["algo=dpo", "algo.pairs=corrections"], ["algo.turns=1", "allowed: 2"]),
        (["algo=sft", "algo.group_size=2"], ["algo.group_size=2", "allowed: 1"]),
        (["algo=grpo", "entropy=kl_cov"], ["entropy=kl_cov", "allowed: algo.num_minibatches >= 2"]),
        (["algo=best_of_n", "dialogue=single"], ["dialogue=single", "algo=best_of_n", "self_correct"]),
        (["algo=self_consistency", "dialogue.turns=3"], ["dialogue=self_correct", "3 turns", "dialogue.turns=2"]),
        (["algo=self_refine", "dialogue=self_correct"], ["dialogue=self_correct", "allowed: dialogue=self_refine"]),
        (["algo=pair_sft", "dialogue=single"], ["algo=pair_sft", "two turns"]),
        (["algo=star", "algo.turns=1"], ["algo.turns=1", "algo=star", "expert_iteration"]),
        (["algo=sft", "prefill=partial_solution"], ["prefill=partial_solution", "algo=sft", "allowed: prefill=none"]),
        (["algo=sft", "curriculum=plr"], ["curriculum=plr", "algo=sft", "allowed: curriculum=uniform"]),
        (["algo=sft", "temperature=anneal"], ["temperature=anneal", "algo=sft", "allowed: temperature=constant"]),
        (["algo=rcrl", "prefill=partial_solution"], ["prefill=partial_solution", "algo=rcrl", "allowed: prefill=none"]),
        (["algo=star", "prefill=partial_solution", "algo.rationalise=true"], ["prefill=partial_solution", "algo=star"]),
        (["algo=expert_iteration", "entropy=clip_cov"], ["entropy=clip_cov", "same advantage", "allowed: none"]),
        (["algo=star", "entropy=kl_cov", "algo.num_minibatches=2"], ["entropy=kl_cov", "same advantage"]),
        (["reward=progress"], ["reward=progress", "algo.shaping_coef=10", "twice"]),
        (["algo.reference=previous", "prefill=base_attempt"], ["prefill=base_attempt", "allowed: algo.reference=base"]),
        (
            ["algo.reference=previous", "eval.shared_first_attempts=true"],
            ["eval.shared_first_attempts=true", "algo.reference=base"],
        ),
        (["budget.sampled_tokens=0"], ["budget.sampled_tokens=0", "out of range"]),
        (["compare.seeds=[-1]"], ["compare.seeds", "allowed"]),
        (["algo.adaptive_beta2=true", "algo.beta2=0"], ["algo.adaptive_beta2=true", "algo.beta2 > 0"]),
        (["task=mixture", "task.tasks.math.test=0"], ["task.tasks.math.test=0", "out of range"]),
        (
            ["task=mixture", "+task.tasks.math.levls=[1]"],
            ["task.tasks.math.levls", "did you mean task.tasks.math.levels?"],
        ),
        (["task=mixture", "+task.tasks.more=3"], ["task.tasks.more=3", "+task@task.tasks.NAME=gsm8k"]),
        (["+task.tasks.math.test=1"], ["task.tasks", "no such key"]),
        (["eval.problems=1001"], ["eval.problems=1001", "task.test=1000"]),
        (
            ["policy=qwen2.5-1.5b", "task=gsm8k"],
            [
                "algo.max_tokens=40",
                "policy=qwen2.5-1.5b",
                "task=gsm8k",
                "scale=paper",
                "algo.max_tokens=512 algo.lr=1e-6",
            ],
        ),
        (["policy=hf", "policy.path=owner/model", "task=gsm8k"], ["algo.max_tokens=40", "policy=owner/model"]),
        (["policy=qwen2.5-1.5b", "task.source=hendrycks", "scale=smoke"], ["algo.max_tokens=32", "task=math"]),
        (
            ["policy=hf", "policy.path=owner/model", "algo.max_tokens=512", "task=mbpp", "task.first_attempts=x.jsonl"],
            ["dialogue=self_correct", "first_attempts", "allowed: dialogue=single"],
        ),
        (["job=grade"], ["responses", "job=grade"]),
        (["job=report"], ["run=null", "job=report", "neither is given"]),
        (["job=report", "runs=a", "run=conf"], ["both are given", "allowed: run=FOLDER, or runs="]),
        (["job=report", "runs=a"], ["out=null", "allowed: runs=... out=FOLDER"]),
        (["job=report", "run=conf", "out=b"], ["out=b", "allowed"]),
        (["job=report", "run=conf", "to=wandb"], ["to=wandb", "allowed: runs=... out=FOLDER"]),
        (["job=report", "runs=a", "out=b", "publish=me/p"], ["publish=me/p", "allowed: to=wandb"]),
        (["job=report", "runs=a", "out=b", "to=wandb", "publish=me"], ["publish=me", "allowed: entity/project"]),
        (["checkpoint=/no/such/file"], ["checkpoint=/no/such/file", "does not exist"]),
    ],
    ids=lambda value: " ".join(value) if value and "=" in value[0] else None,
)
def test_a_wrong_value_is_one_line(overrides: list[str], parts: list[str]) -> None:
    line = refused(*overrides)
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("overrides", "extra"),
    [(["logger=trackio"], "trackio"), (["job=report", "runs=a", "out=b", "to=wandb"], "report")],
)
def test_an_extra_that_is_not_installed_is_named(
    overrides: list[str], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_checks, "is_installed", lambda library: False)
    assert f'allowed: pip install "amend[{extra}]"' in refused(*overrides)


@pytest.mark.parametrize(
    "words",
    [
        ["policy=qwen2.5-1.5b", "task=gsm8k", "scale=paper"],
        ["policy=qwen2.5-1.5b", "task=gsm8k", "algo.max_tokens=512"],
        ["policy=qwen2.5-1.5b", "task=gsm8k", "scale.max_tokens=512"],
        ["policy=qwen2.5-1.5b", "task=gsm8k", "job=doctor"],  # which finds it out by itself
        ["policy=qwen2.5-1.5b"],  # the built-in problems
        ["policy=hf", f"policy.path={ROOT}", "task=gsm8k"],  # a folder: any model, a small one too
    ],
)
def test_what_has_room_to_speak_is_not_refused(words: list[str]) -> None:
    validate.validate_config(composed(*words))


def test_leave_one_out_is_not_asked_of_other_baselines() -> None:
    validate.validate_config(composed("algo.group_size=1", "algo.baseline=batch"))


def test_a_length_that_does_not_fit_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 256}')
    fits = ["policy=hf", f"policy.path={tmp_path}", "algo.max_tokens=127"]
    validate.validate_config(composed(*fits))
    line = refused(*fits[:2], "algo.max_tokens=128")
    assert "algo.max_tokens=128" in line
    assert "256" in line
    assert "less than 128" in line


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith(("experiment/", "debug/"))])
def test_an_experiment_changes_something(name: str) -> None:
    group, choice = name.split("/")
    assert composed(f"{group}={choice}") != composed()


def test_the_command_line_wins_over_experiments_and_scales() -> None:
    cfg = composed("experiment=no_shaping", "algo.shaping_coef=3", "scale=paper", "policy=tiny", "task.source=builtin")
    assert (cfg.algo.shaping_coef, cfg.policy.path, cfg.task.source, cfg.algo.lr) == (3, "builtin", "builtin", 5e-6)


# the schema ---------------------------------------------------------------------------------------------------------


def test_inherited_parameters_are_found_and_bounded() -> None:
    found = schema.target_fields("amend.algo.score.SCoRe")
    assert found["num_iterations"] is value_types.Natural
    assert found["lr"] is value_types.NonNegative
    assert found["gamma"] is value_types.Fraction
    assert {"num_iterations", "num_minibatches", "shaping_coef"} <= found.keys()


def test_sources_say_what_the_imported_class_says() -> None:
    """The parsed signature is the one Python sees: no parameter is invented or missed."""
    import inspect

    from amend.policy.loading import load_policy
    from amend.task.math import Math

    for function, target in (
        (Math.__init__, "amend.task.math.Math"),
        (load_policy, "amend.policy.loading.load_policy"),
    ):
        kinds = inspect.signature(function).parameters.values()
        assert [p.name for p in kinds if p.kind is p.KEYWORD_ONLY] == list(schema.target_fields(target))


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        (value_types.Range(1), [1, 5, 1e300], [0, -1, float("nan"), float("inf")]),
        (value_types.Range(0, above=True), [1e-9], [0, -1]),
        (value_types.Range(0, 1), [0, 0.5, 1], [-0.1, 1.1, float("nan")]),
    ],
)
def test_ranges(rule: value_types.Range, inside: list[float], outside: list[float]) -> None:
    assert all(rule.holds(value) for value in inside)
    assert not any(rule.holds(value) for value in outside)


# the program --------------------------------------------------------------------------------------------------------


def program(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    asked = [sys.executable, str(ROOT / "run.py"), *words]
    return subprocess.run(asked, capture_output=True, text=True, cwd=cwd, env=environment, timeout=60)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["algo.shaping_coef=ten"], ["algo.shaping_coef=ten", "a number >= 0"]),
        (["algo.shaping_ceof=3"], ["algo.shaping_ceof=3", "did you mean algo.shaping_coef?", "conf/algo/score.yaml"]),
        (["algo=scroe"], ["algo=scroe", "did you mean score?", "allowed: best_of_n, dpo"]),
        (["algoo=score"], ["algoo=score", "did you mean algo?"]),
        (["algo.shaping_coef=[1"], ["algo.shaping_coef=[1", "not understood"]),
        (["algo"], ["algo", "key=value"]),
        (["algo=score,grpo"], ["algo=score,grpo", "-m"]),
        (["+algo=grpo"], ["algo", "without the plus"]),
        (["algo=null"], ["allowed"]),
        (["-m", "algo=score,scroe"], ["algo=scroe", "did you mean score?"]),
        (["--cfg", "job", "algo=scroe"], ["algo=scroe", "did you mean score?"]),
        (["--info", "defaults", "algo=scroe"], ["algo=scroe", "did you mean score?"]),
        (["--cfg", "job", "algo.shaping_ceof=3"], ["algo.shaping_ceof=3", "did you mean algo.shaping_coef?"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_the_program_refuses_with_one_line_and_status_2(words: list[str], parts: list[str], tmp_path: Path) -> None:
    said = program(*words, cwd=tmp_path)
    assert said.returncode == 2
    assert said.stdout == ""
    assert said.stderr.count("\n") == 1
    for part in parts:
        assert part in said.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == []


@pytest.mark.parametrize(
    ("word", "long"),
    [
        ("policy=/data/mine", ["policy=hf", "policy.path=/data/mine"]),
        ("policy=Qwen/Qwen2.5-0.5B", ["policy=hf", "policy.path=Qwen/Qwen2.5-0.5B"]),
        ("policy=tests", ["policy=hf", "policy.path=tests"]),
        ("policy=tiny", ["policy=tiny"]),
        ("policy=tiny,a/b", ["policy=tiny,a/b"]),
        ("task.source=/data/MATH", ["task.source=/data/MATH"]),
        ("--cfg", ["--cfg"]),
    ],
)
def test_a_folder_or_a_hub_id_is_a_policy(word: str, long: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert command_line.expand_policy_shorthand([word]) == long


def test_a_multirun_says_each_wrong_run(tmp_path: Path) -> None:
    said = program("-m", "algo.shaping_coef=ten,-1", cwd=tmp_path)
    assert said.returncode == 2
    assert [line.split(":")[1].strip() for line in said.stderr.splitlines()] == [
        "algo.shaping_coef=ten",
        "algo.shaping_coef=-1",
    ]


def test_nothing_heavy_is_imported_before_the_check() -> None:
    code = (
        "import sys; sys.argv = ['run.py', 'algo.shaping_coef=ten']; from amend.cli import main; status = main();"
        "heavy = {'torch', 'transformers', 'pytorch_lightning', 'wandb', 'pyarrow'} & set(sys.modules);"
        "sys.exit(f'{status} {heavy}' if heavy or status != 2 else 0)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr


def test_cfg_job_shows_the_configuration(record_property: pytest.RecordProperty, tmp_path: Path) -> None:
    began = time.perf_counter()
    said = program("--cfg", "job", "--resolve", "algo=grpo", cwd=tmp_path)
    record_property("seconds", time.perf_counter() - began)
    assert said.returncode == 0, said.stderr
    assert OmegaConf.create(said.stdout).algo.name == "grpo"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--info", "defaults"], "self_correct"),
        (["--help"], "python run.py algo=score task=math"),
        (["-sc", "install=bash"], "complete"),
    ],
)
def test_the_program_explains_itself(words: list[str], part: str, tmp_path: Path) -> None:
    said = program(*words, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert part in said.stdout
    assert list(tmp_path.iterdir()) == []


def test_tab_completes_algorithms(tmp_path: Path) -> None:
    line = f"python {ROOT / 'run.py'} algo="
    environment = {**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))}
    asked = [sys.executable, str(ROOT / "run.py"), "-sc", "query=bash"]
    said = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60)
    assert said.stdout.split() == [f"algo={path.stem}" for path in sorted((CONF / "algo").glob("*.yaml"))]
