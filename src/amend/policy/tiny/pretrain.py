"""Pretrain the built-in model from random weights: ``python run.py job=pretrain``.

The built-in model imitates the base models of the papers (SCoRe, section 3). About half of its first attempts are
right, and its second attempts differ but are not better. It is a small Llama that is trained on synthetic documents
with this behaviour. A document has a problem, a first attempt with a check of its result, and a second attempt.
``documents.py`` samples the documents.

The documents contain successful self-correction: second attempts that read the check. Most second attempts ignore the
check, so the model does not use it by default. Reinforcement learning must find this behaviour, because nothing in a
document shows when it is rewarded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from amend.policy.tiny import tokenizer as tokenizers
from amend.policy.tiny.documents import PHRASES, Document, Habits, sample_document

WARMUP_STEPS = 100  # steps of linear learning-rate warmup


class DocumentEncoder:
    """Convert documents to tokens with a loss mask that covers only the two attempts.

    Args:
        tokenizer: Tokenizer of the built-in model.
        instruction: The user message before the second attempt.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, instruction: str) -> None:
        self._tokenizer = tokenizer
        self._user, self._assistant, self._end = (
            tokenizer.convert_tokens_to_ids(token) for token in (tokenizers.USER, tokenizers.ASSISTANT, tokenizers.END)
        )
        self._instruction = self._encode([instruction])[0]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def __call__(self, documents: Sequence[Document]) -> tuple[Tensor, Tensor]:
        """Return the tokens [b t], padded on the right, and the loss mask [b t].

        Args:
            documents: B documents.

        Returns:
            Token ids, and a boolean mask that is true for the tokens of attempts and their end tokens.
        """
        encoded = self._encode([text for texts in documents for text in texts])
        rows, marks = [], []
        for i in range(0, len(encoded), 3):
            question, first, second = encoded[i : i + 3]
            row = [self._user, *question, self._assistant]
            mark = [False] * len(row) + [True] * (len(first) + 1)
            row += [*first, self._end, self._user, *self._instruction, self._assistant]
            mark += [False] * (len(row) - len(mark)) + [True] * (len(second) + 1)
            rows.append(torch.tensor([*row, *second, self._end]))
            marks.append(torch.tensor(mark))
        pad = torch.nn.utils.rnn.pad_sequence
        return pad(rows, batch_first=True), pad(marks, batch_first=True)


def train(
    lm: LlamaForCausalLM,
    encoder: DocumentEncoder,
    habits: Habits,
    steps: int,
    batch: int,
    lr: float,
    seed: tuple[int, int],
) -> None:
    """Train with AdamW on newly sampled documents; the learning rate has a warmup and a linear decay to 0.

    Args:
        lm: The model, which is changed in place.
        encoder: Converts documents to tokens and a loss mask.
        habits: Probabilities of the documents.
        steps: Number of optimizer steps.
        batch: Number of documents in a step.
        lr: Peak learning rate.
        seed: Seed of the documents.
    """
    start = time.perf_counter()
    optimizer = torch.optim.AdamW(lm.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / WARMUP_STEPS) * max(0.0, 1 - step / steps)
    )
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    for step in range(steps):
        tokens, loss_mask = encoder([sample_document(rng, habits) for _ in range(batch)])
        hidden = lm.model(tokens[:, :-1], use_cache=False).last_hidden_state[loss_mask[:, 1:]]
        loss = torch.nn.functional.cross_entropy(lm.lm_head(hidden), tokens[:, 1:][loss_mask[:, 1:]])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}, loss {loss.item():.3f}, {time.perf_counter() - start:.0f} s", flush=True)


def pretrain(cfg: DictConfig) -> Path:
    """Train the built-in model and save it with its tokenizer and its settings.

    Args:
        cfg: The run's configuration; ``cfg.pretrain`` has the settings and the output folder.

    Returns:
        The folder of the model.
    """
    settings: Any = OmegaConf.to_container(cfg.pretrain, resolve=True)
    habits = Habits(**settings["habits"])
    torch.manual_seed(cfg.seed)
    instruction = cfg.dialogue.instruction
    tokenizer = tokenizers.build_tokenizer(tokenizers.ASCII, [*PHRASES, instruction], settings["context"])
    lm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=settings["context"],
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            **settings["shape"],
        )
    )
    encoder = DocumentEncoder(tokenizer, instruction)
    settle = settings["settle"]
    train(lm, encoder, habits, settings["steps"], settings["batch"], settings["lr"], (cfg.seed, 1))
    settle_habits = replace(habits, doubtful=settle["doubtful"])
    train(lm, encoder, settle_habits, settle["steps"], settings["batch"], settle["lr"], (cfg.seed, 2))
    out = Path(settings["out"])
    out.mkdir(parents=True, exist_ok=True)
    lm.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "pretrain.json").write_text(json.dumps({"seed": cfg.seed, **settings}, indent=2) + "\n")
    return out
