"""What is vLLM's alone: when weights travel, what a request says, and one line for each thing that can be wrong.

TRL's client against a server on loopback (``tests/vllm_server.py``); the contract it shares is in ``test_contract.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from learners import build, run
from toys import drift, model, policy, wrapped
from vllm_server import Loopback, free_port, pretending

from amend.errors import UserError
from amend.policy.policy import Policy
from amend.policy.tiny import tokenizer as tokenizers
from amend.policy.tuning import Lora
from amend.rollout.vllm import VLLM, number
from amend.types import SamplingParams, Tokens

PROMPTS: list[Tokens] = [(2, 5, 3), (2, 6, 5, 6, 3), (2, 5, 3)]
SEEDS = [(0, i) for i in range(3)]
HOW = SamplingParams(1.0, 8)


def engine(toy: Policy, server: Loopback | None, **knobs: Any) -> VLLM:
    url = server.url if server else f"http://127.0.0.1:{free_port()}"
    usual = {
        "url": url,
        "group_port": free_port(),
        "server_timeout": 0.0,
        "max_batch_size": 64,
        "max_concurrency": 8,
        "importance_sampling_cap": None,
    }
    return VLLM(toy, **{**usual, **knobs})


@pytest.fixture
def installed() -> Iterator[None]:
    with pretending("0.31.0"):
        yield


@pytest.fixture
def server() -> Iterator[Loopback]:
    made = Loopback(drift(policy()))
    yield made
    made.close()


@pytest.mark.parametrize("version", ["0.27.0", "0.31.0"])
def test_weights_travel_once_for_each_change_and_only_when_someone_samples(server: Loopback, version: str) -> None:
    toy = drift(policy())
    with pretending(version):
        made = engine(toy, server)
        made.sync_weights()
        assert not server.asked
        for change in range(1, 4):
            drift(toy, 0.1)
            made.sync_weights()
            made.sync_weights()
            for _ in range(2):
                made.sample(PROMPTS, HOW, SEEDS)
            assert server.times("/update_weights") == server.times("/reset_prefix_cache") == change
            for name, weight in toy.lm.named_parameters():
                assert torch.equal(weight, server.policy.lm.get_parameter(name))
    assert server.times("/init_weight_transfer_engine") == 1
    order = [path for path, _ in server.asked if "weight" in path][1:4]
    assert order == ["/start_weight_update", "/update_weights", "/finish_weight_update"]


def test_the_reference_is_sent_when_it_is_sampled_and_the_policy_sent_back(server: Loopback, installed: None) -> None:
    made = engine(drift(policy()), server)
    twin = made.reference_engine()
    for one, sent in ((made, 1), (twin, 2), (twin, 2), (made, 3), (made, 3)):
        one.sample(PROMPTS, HOW, SEEDS)
        assert server.times("/update_weights") == sent
    twin.sync_weights()  # not what is on the server
    made.sample(PROMPTS, HOW, SEEDS)
    assert server.times("/update_weights") == 3


def test_a_low_rank_update_arrives_added_to_the_weights_and_the_reference_without_it(installed: None) -> None:
    tokenizer = tokenizers.build_tokenizer("ab", [], 256)
    lm = model("llama", len(tokenizer), tokenizer.eos_token_id)
    server = Loopback(policy())  # the same architecture without an adapter
    toy = wrapped(lm, tokenizer, Lora(rank=2, alpha=4.0, targets=["all"]))
    with torch.no_grad():
        for name, weight in toy.lm.named_parameters():
            if "lora_B" in name:
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    before = {name: weight.clone() for name, weight in toy.lm.named_parameters()}
    made = engine(toy, server)
    tokens = torch.tensor([[2, 5, 6, 5, 3]])
    try:
        for one, reference in ((made, False), (made.reference_engine(), True)):
            one.sample(PROMPTS, HOW, SEEDS)
            with torch.no_grad(), toy.model_or_reference(reference) as mine:
                assert torch.allclose(mine(tokens).logits, server.policy.lm(tokens).logits, atol=1e-4)
    finally:
        server.close()
    assert all(torch.equal(weight, before[name]) for name, weight in toy.lm.named_parameters())


def test_each_prompt_is_a_request_with_its_own_seed_and_nothing_left_to_defaults(
    server: Loopback, installed: None
) -> None:
    toy = drift(policy())
    toy.ends = (4, 6)
    engine(toy, server).sample(PROMPTS, SamplingParams(0.7, 5), SEEDS)
    asked = [body for path, body in server.asked if path == "/v1/completions"]
    assert sorted(body["seed"] for body in asked) == sorted(number(seed) for seed in SEEDS)
    assert len({number(seed) for seed in [*SEEDS, (0,), (0, 0, 0), (1, 0)]}) == 6
    for body in asked:
        assert len(body["prompt"]) == 1 and tuple(body["prompt"][0]) in PROMPTS
        assert body["stop_token_ids"] == [4, 6] and body["temperature"] == 0.7 and body["max_tokens"] == 5


def test_a_reply_does_not_depend_on_what_else_is_asked(server: Loopback, installed: None) -> None:
    made = engine(drift(policy()), server)
    together = made.sample(PROMPTS, HOW, SEEDS)
    alone = [made.sample([p], HOW, [s])[0] for p, s in zip(PROMPTS, SEEDS, strict=True)]
    assert together == alone
    assert engine(made._policy, server, max_concurrency=1).sample(PROMPTS, HOW, SEEDS) == together


def test_a_learner_plays_through_it_and_its_gap_is_the_engines(installed: None) -> None:
    """Three rounds of GRPO with the cap on: weights sent once a round, a gap of rounding only, importance 1."""
    algorithm, task = build("grpo", "algo.max_tokens=3", "algo.groups_per_batch=2", "algo.group_size=4", cold=False)
    server = Loopback(algorithm.policy)
    try:
        algorithm.runner._engine = engine(algorithm.policy, server, importance_sampling_cap=2.0)
        lines = run(algorithm, task, 3)
    finally:
        server.close()
    assert server.times("/update_weights") == 3
    assert all(
        line["sampling/logp_difference"] < 1e-4 and line["sampling/importance_ratio"] == pytest.approx(1.0, abs=1e-4)
        for line in lines
    )


def test_an_engine_left_with_old_weights_shows_in_the_gap(installed: None) -> None:
    algorithm, task = build("grpo", "algo.max_tokens=3", "algo.groups_per_batch=2", "algo.group_size=4", cold=False)
    server = Loopback(algorithm.policy)
    try:
        made = engine(algorithm.policy, server, importance_sampling_cap=2.0)
        made.sync_weights = lambda: None  # type: ignore[method-assign]
        algorithm.runner._engine = made
        lines = run(algorithm, task, 1)
        drift(algorithm.policy)
        lines += run(algorithm, task, 1)
    finally:
        server.close()
    assert lines[0]["sampling/logp_difference"] < 1e-4 < 1e-2 < lines[1]["sampling/logp_difference"]
    assert abs(lines[1]["sampling/importance_ratio"] - 1) > 1e-3


# one line each --------------------------------------------------------------------------------------------------------


def refused(made: VLLM, *words: str, sampling_params: SamplingParams = HOW) -> None:
    with pytest.raises(UserError) as found:
        made.sample(PROMPTS, sampling_params, SEEDS)
    assert "\n" not in str(found.value)
    for word in ("rollout", *words):
        assert word in str(found.value)


def test_without_vllm() -> None:
    refused(engine(policy(), None), "vLLM is not installed", "pip install 'amend[vllm]'")


def test_without_a_server(installed: None) -> None:
    refused(engine(policy(), None), "no vLLM server answers", "trl vllm-serve")


def test_a_trainer_on_a_processor(server: Loopback) -> None:
    with pretending("0.31.0", on_gpu=False):
        refused(engine(policy(), server), "on cpu", "trainer.accelerator=gpu")


def test_log_probabilities_before_temperature(server: Loopback, installed: None) -> None:
    server.logprobs_mode = "raw_logprobs"
    refused(engine(policy(), server), "raw_logprobs", "--logprobs-mode processed_logprobs")


def test_a_server_that_cannot_be_sent_weights(server: Loopback, installed: None) -> None:
    server.weight_transfer = None
    refused(engine(policy(), server), "cannot be sent weights", "--weight-transfer-config")
    server.development = False
    refused(engine(policy(), server), "VLLM_SERVER_DEV_MODE=1")


def test_a_conversation_too_long_for_the_server(server: Loopback, installed: None) -> None:
    refused(engine(policy(), server), "maximum context length is 200 tokens", sampling_params=SamplingParams(1.0, 240))


def test_a_reply_without_its_end(server: Loopback, installed: None) -> None:
    """As a server would give that stops for a reason of its own, or leaves the end token out."""

    def shortened(choice: dict[str, Any]) -> dict[str, Any]:
        logprobs = {key: values[:2] for key, values in choice["logprobs"].items()}
        return choice | {"token_ids": [5, 5], "logprobs": logprobs | {"tokens": ["token_id:5"] * 2}}

    server.said = shortened
    refused(
        engine(policy(), server),
        "none of the end tokens [4]",
        "--max-model-len",
        sampling_params=SamplingParams(0.0, 8),
    )


def test_another_prompt_than_was_sent(server: Loopback, installed: None) -> None:
    server.said = lambda choice: choice | {"prompt_token_ids": [1, *choice["prompt_token_ids"]]}
    refused(engine(policy(), server), "changed a prompt's tokens")


def test_a_log_probability_that_is_no_number(server: Loopback, installed: None) -> None:
    def broken(choice: dict[str, Any]) -> dict[str, Any]:
        wrong = [float("nan")] * len(choice["token_ids"])
        return choice | {"logprobs": choice["logprobs"] | {"token_logprobs": wrong}}

    server.said = broken
    refused(engine(policy(), server), "not a number")


def test_a_server_that_goes_away(server: Loopback, installed: None) -> None:
    made = engine(policy(), server)
    made.sample(PROMPTS, HOW, SEEDS)
    server.close()
    made._server._client.session.adapters["http://"].max_retries = 0
    refused(made, "no longer answers")
