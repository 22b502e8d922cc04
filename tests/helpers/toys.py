"""Small real things for tests: models of a few thousand parameters in stock architectures, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedModel, Qwen2Config

from amend.algo.context import AlgorithmContext
from amend.exploration import Exploration
from amend.exploration.curriculum import Uniform
from amend.exploration.entropy import NoEntropyTerm
from amend.exploration.prefill import NoPrefill
from amend.exploration.temperature import Constant
from amend.policy.policy import Policy
from amend.policy.tiny import tokenizer as tokenizers
from amend.policy.tuning import Full
from amend.types import Budget, Completion, Episode, Problem, Scored, Turn


def model(architecture: str, vocabulary: int, end: int, width: int = 16) -> PreTrainedModel:
    """A randomly initialised causal LM: llama, qwen2 (biases), or gpt2 (absolute positions). Sharpened, so that it has
    opinions: at its initialisation every token would be about as likely as any other."""
    torch.manual_seed(0)
    common: dict[str, Any] = {"vocab_size": vocabulary, "eos_token_id": end, "bos_token_id": None, "pad_token_id": 0}
    if architecture == "gpt2":
        config: Any = GPT2Config(n_embd=width, n_layer=2, n_head=2, n_positions=256, **common)
    else:
        kind = {"llama": LlamaConfig, "qwen2": Qwen2Config}[architecture]
        config = kind(
            hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, **common,
        )  # fmt: skip
    lm = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    with torch.no_grad():
        for weights in lm.parameters():
            weights.mul_(4.0 if weights.dim() > 1 else 1.0)
    return lm


def policy(
    architecture: str = "llama",
    characters: str = "ab",
    max_tokens_per_micro_batch: int = 4096,
    width: int = 16,
    tuning: Any = None,
) -> Policy:
    """A policy over five special tokens and ``characters``."""
    tokenizer = tokenizers.build_tokenizer(characters, [], 256)
    lm = model(architecture, len(tokenizer), tokenizer.eos_token_id, width)
    return wrapped(lm, tokenizer, tuning, max_tokens_per_micro_batch=max_tokens_per_micro_batch)


def wrapped(
    lm: PreTrainedModel,
    tokenizer: Any,
    tuning: Any = None,
    max_tokens_per_micro_batch: int = 4096,
    gradient_checkpointing: bool = False,
    system: str = "",
    thinking: bool | None = None,
    autocast: bool = False,
) -> Policy:
    """Any model and tokenizer as a policy, all of it trained where ``tuning`` does not say otherwise."""
    return Policy(
        lm, tokenizer, "toy", tuning or Full(), autocast=autocast,
        max_tokens_per_micro_batch=max_tokens_per_micro_batch,
        gradient_checkpointing=gradient_checkpointing, system_prompt=system, enable_thinking=thinking,
    )  # fmt: skip


def drift(policy: Policy, scale: float = 0.3) -> Policy:
    """The policy moved away from its reference, so that a KL between them is not zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in policy.lm.parameters():
            weights.add_(scale * weights.std().nan_to_num(0.0) * torch.randn(weights.shape, generator=generator))
    return policy


def problem(name: str = "p", answer: str = "a") -> Problem:
    """A problem that asks for a symbol."""
    return Problem(id=name, question=answer, target=answer, meta={"level": 1, "subject": "Toy", "solution": answer})


def completion(tokens: Sequence[int], logp: float = -1.0, text: str = "", stop: str = "end") -> Completion:
    """A completion of these tokens, each with the same log-probability."""
    return Completion(tuple(tokens), (logp,) * len(tokens), text, stop)  # type: ignore[arg-type]


def episode(turns: Sequence[tuple[Sequence[int], Sequence[int]]], name: str = "p", sample: int = 0) -> Episode:
    """An episode from (new prompt tokens, reply tokens) a turn."""
    said: tuple[int, ...] = ()
    made = []
    for asked, drawn in turns:
        prompt = said + tuple(asked)
        made.append(Turn(prompt, completion(drawn)))
        said = prompt + tuple(drawn)
    return Episode(problem(name), sample, tuple(made))


def scored(episode: Episode, reward: Sequence[float]) -> Scored:
    """An episode with its rewards."""
    return Scored(episode, tuple(float(r) for r in reward), {})


def NOTHING(episodes: Sequence[Episode]) -> list[Scored]:
    """A score that scores nothing, for learners that are never played."""
    return []


class Silent:
    """A play that nothing is asked of."""

    importance_sampling_cap = None


LOOP: dict[str, Any] = {
    "num_iterations": 4, "groups_per_batch": 2, "group_size": 4, "turns": 2, "max_tokens": 2, "lr": 1e-3,
    "lr_scheduler_type": "none",
    "warmup_steps": 0, "weight_decay": 0.0, "max_grad_norm": 1e9, "update_epochs": 1, "num_minibatches": 1,
}  # fmt: skip


def plainly() -> Exploration:
    """Temperature 1, any problem, from nothing, the loss as it is."""
    return Exploration(Constant(value=[1.0]), Uniform(), NoPrefill(), NoEntropyTerm())


def handed(policy: Policy, play: Any = None, score: Any = NOTHING, seed: int = 0) -> tuple[Any, ...]:
    """What every algorithm is handed, in its order."""
    return (AlgorithmContext(policy, play or Silent(), score, plainly(), Budget(None, None), seed),)


SCORE: dict[str, Any] = {
    "shaping_coef": 10.0, "beta1": 0.01, "beta2": 0.1, "gamma": 0.0, "stage1_iterations": 2, "baseline": "problem",
    "kl": "exact",
    "reference": "base", "adaptive_beta2": False, "stage2": "reinforce",
}  # fmt: skip
GRPO: dict[str, Any] = {
    "kl_coef": 0.04, "clip_ratio_low": 0.2, "clip_ratio_high": 0.2, "scale_rewards": True,
    "loss_agg_mode": "seq_mean_token_mean", "remove_constant_reward_groups": False,
}  # fmt: skip
