"""Small random models of the architectures that people use, each with a tokenizer trained on the spot and the chat
template of its family, as the files of conf/policy would load them from the hub."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from toys import drift, scored, wrapped
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from amend.batch import Batch, collate
from amend.dialogue import SelfCorrect
from amend.policy import chat_templates
from amend.policy.loading import choose_attention
from amend.policy.policy import Policy
from amend.policy.tuning import Full, Lora, Tuning
from amend.rollout.local import Local
from amend.rollout.runner import RolloutRunner
from amend.task.identity import Identity
from amend.types import Episode, SamplingParams

WINDOW = 8  # of the layers that look back only so far; shorter than any conversation here
WORDS = [
    "There might be an error in the solution above because of lack of understanding of the question. Rewrite it.",
    "Find two numbers that add up to 12 and multiply to 35. Answer: 5 and 7. So 5 + 7 = 12, 5 * 7 = 35.",
    "Solve 3x + 4 = 19. 3x = 15, so x = 5. The final answer is \\boxed{5}. I hope it is correct.",
    "Question: system user assistant model Answer: You are a helpful assistant. Cutting Knowledge Date: December 2023",
]


class Kind(NamedTuple):
    """A family: its special tokens, and which of them begin and end a text and fill it up; its template in TRL's
    collection (None: it has none, and is asked in plain words); whether its thinking has to be turned off."""

    special: tuple[str, ...]
    begin: str | None
    end: str
    pad: str | None
    template: str | None = None
    thinking: bool | None = None
    pieces: bool = False  # a tokenizer as SentencePiece makes them: a space before each text, bytes for rare characters


CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THOUGHT = ("<think>", "</think>")
HEADERS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
KINDS = {
    "qwen2": Kind(CHATML, None, "<|im_end|>", "<|endoftext|>", "qwen2_5"),
    "qwen3": Kind((*CHATML, *THOUGHT), None, "<|im_end|>", "<|endoftext|>", "qwen3", thinking=False),
    "gemma2": Kind(("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>", "<pad>", "gemma"),
    "llama": Kind(HEADERS, "<|begin_of_text|>", "<|eot_id|>", None, "llama3_2"),
    "llama2": Kind(("<unk>", "<s>", "</s>"), "<s>", "</s>", None, pieces=True),
    "gpt_neox": Kind(("<|endoftext|>",), None, "<|endoftext|>", None),
    "gpt2": Kind(("<|endoftext|>",), None, "<|endoftext|>", "<|endoftext|>"),
}
ARCHITECTURES = list(KINDS)


def trl_template(name: str) -> str:
    """One of the chat templates that TRL has collected."""
    return (files("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


@cache
def _trained(special: tuple[str, ...]) -> str:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(WORDS, trainer)
    return core.to_str()


@cache
def _pieces(special: tuple[str, ...]) -> str:
    core = Tokenizer(models.BPE(byte_fallback=True, unk_token=special[0]))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    raw = [f"<0x{byte:02X}>" for byte in range(256)]
    core.train_from_iterator(
        WORDS, trainers.BpeTrainer(vocab_size=500, special_tokens=[*special, *raw], show_progress=False)
    )
    # Bytes are words like any other and no marks: only the family's own are special.
    plain = Tokenizer(core.model)
    plain.pre_tokenizer, plain.decoder = core.pre_tokenizer, core.decoder
    plain.add_special_tokens(list(special))
    begin = (special[1], plain.token_to_id(special[1]))
    plain.post_processor = processors.TemplateProcessing(single=f"{begin[0]} $A", special_tokens=[begin])
    return plain.to_str()


def tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A BPE of 400 tokens over bytes, or of 500 over pieces, with the family's special tokens and its chat template."""
    kind = KINDS[name]
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str((_pieces if kind.pieces else _trained)(kind.special)),
        bos_token=kind.begin, eos_token=kind.end, pad_token=kind.pad,
        **({"unk_token": kind.special[0]} if kind.pieces else {}), clean_up_tokenization_spaces=False,
        chat_template=trl_template(kind.template) if kind.template else None,
    )  # fmt: skip
    return made


def model(name: str, vocabulary: int, end: int | list[int]) -> PreTrainedModel:
    """Two layers with opinions, in ``name``'s architecture; windowed layers where the family has them."""
    torch.manual_seed(0)
    wide: dict[str, Any] = {
        "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 512, "eos_token_id": end, "bos_token_id": None,
        "pad_token_id": None,
    }  # fmt: skip
    shared = {**wide, "num_key_value_heads": 2, "tie_word_embeddings": True}
    config: Any
    if name == "gpt2":
        config = GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=512, eos_token_id=end)
    elif name == "gpt_neox":
        config = GPTNeoXConfig(**wide, hidden_dropout=0.1, attention_dropout=0.1)
    elif name == "gemma2":
        config = Gemma2Config(**shared, head_dim=8, sliding_window=WINDOW, query_pre_attn_scalar=8)
    elif name == "qwen3":
        config = Qwen3Config(**shared, head_dim=8)
    elif name == "qwen2":
        config = Qwen2Config(**shared, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1)
    else:
        config = LlamaConfig(**shared)
    lm = AutoModelForCausalLM.from_config(config, attn_implementation=choose_attention(config, "auto"))
    with torch.no_grad():
        for weights in lm.parameters():
            weights.mul_(4.0 if weights.dim() > 1 else 1.0)
    return lm


def lora() -> Lora:
    """A small update to every matrix."""
    return Lora(rank=2, alpha=4.0, targets=["all"])


def policy(name: str, tuning: Tuning | None = None, max_tokens_per_micro_batch: int = 4096, **more: Any) -> Policy:
    """A small random model of the family, ready to be trained."""
    words, kind = tokenizer(name), KINDS[name]
    chat_templates.set_chat_template(words, "own" if kind.template else "plain", name)
    lm = model(name, len(words), words.eos_token_id)
    torch.manual_seed(1)
    return wrapped(lm, words, tuning or Full(), max_tokens_per_micro_batch, thinking=kind.thinking, **more)


def folder(name: str, path: Path) -> Path:
    """The same as files, as a user would have them."""
    words = tokenizer(name)
    model(name, len(words), words.eos_token_id).save_pretrained(path)
    words.save_pretrained(path)
    return path


AGAIN = "There might be an error in the solution above. Please rewrite it."


def moved(made: Policy) -> Policy:
    """The policy away from its reference: every weight, or the update alone, which at first does nothing."""
    if made.adapter is None:
        return drift(made, 0.1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in made.lm.parameters():
            if weights.requires_grad:
                weights.add_(0.2 * torch.randn(weights.shape, generator=generator))
    return made


def play_of(made: Policy) -> RolloutRunner:
    engine = Local(made, max_batch_size=64, compaction_threshold=0.25)
    return RolloutRunner(
        engine,
        engine.reference_engine(),
        made.renderer,
        Identity(symbols=4, test=4),
        SelfCorrect(turns=2, instruction=AGAIN),
    )


def played(made: Policy, temperature: float = 1.0) -> list[Episode]:
    play = play_of(made)
    problems = Identity(symbols=4, test=4).problems("test")
    return play(problems, 2, [SamplingParams(temperature, 12)] * 2, (3,))


def batch_of(episodes: list[Episode]) -> Batch:
    return collate([scored(e, [1.0 - i % 2, i % 3 / 2]) for i, e in enumerate(episodes)])
