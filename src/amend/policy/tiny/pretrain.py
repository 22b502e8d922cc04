"""Rebuild the built-in model from nothing: ``python run.py job=pretrain``.

The built-in model is meant to behave as the papers' base models do (SCoRe, section 3): right about half the time on the
first try, able to say something else when asked again, and no better for it. It is what a small stock transformer
becomes when it reads documents whose writers have those habits. In a document a writer answers a problem, is asked
to look again, and answers once more:

    first attempt    right with probability ``first_right``, else a near miss; either way its check is written out
    second attempt   opens with a word that shows the writer's habit
        ``So``       reads the check: keeps an attempt that came out right, mends one that did not
        ``Rather``   takes something else, whatever the check said
        ``Again``    starts over as if nothing had been said

Everything self-correction needs is in there (reading the check is), but it is not what most writers do, so it is not
what the model does by default. Reinforcement learning has to find it; nothing in a document says where it pays.
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
from amend.policy.tiny.documents import PHRASES, Document, Habits, document

WARM_UP = 100  # steps of rising learning rate


class Reader:
    """Documents as token rows, with the attempts (and nothing else) marked to be learned."""

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
        """Tokens [b t], padded on the right, and which of them are learned [b t]."""
        encoded = self._encode([text for one in documents for text in one])
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


def learn(
    lm: LlamaForCausalLM, read: Reader, habits: Habits, steps: int, batch: int, lr: float, seed: tuple[int, int]
) -> None:
    """``steps`` of AdamW on fresh documents; the learning rate rises for ``WARM_UP`` steps, then falls to nothing."""
    began = time.perf_counter()
    optimizer = torch.optim.AdamW(lm.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / WARM_UP) * max(0.0, 1 - step / steps)
    )
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    for step in range(steps):
        tokens, learned = read([document(rng, habits) for _ in range(batch)])
        hidden = lm.model(tokens[:, :-1], use_cache=False).last_hidden_state[learned[:, 1:]]
        loss = torch.nn.functional.cross_entropy(lm.lm_head(hidden), tokens[:, 1:][learned[:, 1:]])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}, loss {loss.item():.3f}, {time.perf_counter() - began:.0f} s", flush=True)


def rebuild(cfg: DictConfig) -> Path:
    """Train the built-in model as ``cfg.pretrain`` says; save it, with its tokenizer, where ``pretrain.out`` says."""
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
    read = Reader(tokenizer, instruction)
    settle = settings["settle"]
    learn(lm, read, habits, settings["steps"], settings["batch"], settings["lr"], (cfg.seed, 1))
    doubting = replace(habits, doubtful=settle["doubtful"])
    learn(lm, read, doubting, settle["steps"], settings["batch"], settle["lr"], (cfg.seed, 2))
    out = Path(settings["out"])
    out.mkdir(parents=True, exist_ok=True)
    lm.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "pretrain.json").write_text(json.dumps({"seed": cfg.seed, **settings}, indent=2) + "\n")
    return out
