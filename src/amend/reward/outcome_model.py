"""The outcome reward model: a language model with a scalar head that predicts whether a reply is correct."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from amend.errors import UserError
from amend.solution_steps import split_steps
from amend.types import Episode, Tokens, Turn

MICRO_TOKENS = 2**13  # padded tokens of one forward pass; no value depends on it
ABOUT, HEAD = "orm.json", "head.pt"


class OutcomeModel(nn.Module):
    """A body, its head, and the tokenizer of the policy that both read.

    ``about`` is what orm.json says of it: ``base`` (the policy.path it started from), ``kind`` (outcome or step), and
    how good it was on held-out problems.
    """

    def __init__(self, body: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, about: dict[str, Any]) -> None:
        super().__init__()
        self.body, self.tokenizer, self.about = body.eval(), tokenizer, about  # no dropout, as in the policy
        self.head = nn.Linear(body.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.head.weight)  # an untrained model says one half to everything
        nn.init.zeros_(self.head.bias)
        self.head.to(body.device)

    @classmethod
    def load(cls, path: str | Path) -> OutcomeModel:
        """The model that ``save`` wrote to a folder. FileNotFoundError where there is none."""
        folder = Path(path).expanduser()
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        body = AutoModel.from_pretrained(folder, dtype="auto", attn_implementation="sdpa")
        model = cls(body, AutoTokenizer.from_pretrained(folder), about)
        model.head.load_state_dict(torch.load(folder / HEAD, weights_only=True, map_location="cpu"))
        return model

    def save(self, path: str | Path) -> None:
        """The whole of it as a folder: a transformers body and tokenizer, the head, and orm.json, written last."""
        folder = Path(path).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ABOUT).unlink(missing_ok=True)  # half a folder is not a model
        self.body.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        torch.save(self.head.state_dict(), folder / HEAD)
        (folder / ABOUT).write_text(json.dumps(self.about, indent=2) + "\n", encoding="utf-8")

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """Log-odds of being right after each token. Rows are padded on the right, where a causal model cannot see."""
        hidden = self.body(input_ids=tokens, use_cache=False).last_hidden_state
        return self.head(hidden.float())[..., 0]

    def p(self, tokens: Int[Tensor, "b t"], lengths: Int[Tensor, " b"]) -> Float[Tensor, "b t"]:
        """Probability of being right after each token; 0 from ``lengths[i]`` on. No gradient."""
        with torch.no_grad():
            probability = torch.sigmoid(self(tokens))
        return probability.masked_fill(torch.arange(tokens.shape[1], device=tokens.device) >= lengths[:, None], 0.0)

    def read(self, rows: Sequence[Tokens]) -> list[Float[np.ndarray, " t"]]:
        """``p`` at each token of each row. UserError where a token is none of this model's."""
        known = self.body.get_input_embeddings().num_embeddings
        if (largest := max((token for row in rows for token in row), default=0)) >= known:
            raise UserError(
                f"the outcome model of {self.about['base']} has {known} tokens and was given token {largest}; "
                f"allowed: a model made from this very policy by `python run.py job=train_orm`"
            )
        found: dict[int, np.ndarray] = {}
        for piece in pieces([len(row) for row in rows], MICRO_TOKENS):
            tokens, lengths = rectangle([rows[i] for i in piece])
            values = self.p(tokens.to(self.body.device), lengths.to(self.body.device)).cpu().numpy()
            found |= {i: value[: len(rows[i])] for i, value in zip(piece, values, strict=True)}
        return [found[i] for i in range(len(rows))]

    def step_ends(self, turn: Turn) -> list[int]:
        """For each step of a reply, in order, the place in the conversation of the token that completes it.

        The last is the reply's last token. A step that was handed in has no token of the reply's and is left out; two
        steps may be completed by one token.
        """
        reply, first = turn.reply, len(turn.prompt)
        drawn = reply.tokens[:-1] if reply.stop == "end" else reply.tokens
        given, last = len(reply.text) - len(self._text(drawn)), len(reply.tokens) - 1
        said = [at - given for at in accumulate(map(len, split_steps(reply.text)[:-1])) if at > given]
        ends = [bisect_left(range(last), at, key=lambda i: len(self._text(drawn[: i + 1]))) for at in said]
        return [first + end for end in (*ends, last)]

    def _text(self, tokens: Tokens) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def outcome_model(key: str, path: str) -> OutcomeModel:
    """The model at ``path``, where it computes fastest. UserError, naming the key, where there is none."""
    if not (Path(path).expanduser() / ABOUT).is_file():
        raise UserError(
            f"{key}={path}: no outcome model is there; make one with `python run.py job=train_orm orm.path={path}`, or "
            f"give the folder of one"
        )
    return OutcomeModel.load(path).requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")


def rank(model: OutcomeModel, episodes: Sequence[Episode]) -> Float[np.ndarray, " b"]:
    """What best-of-n and rerank@k order episodes by: the probability that the last reply is right."""
    return np.array([p[-1] for p in model.read([conversation(episode) for episode in episodes])])


def at_ends(model: OutcomeModel, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
    """The probability of being right at the end of each turn, and 0 where an episode has fewer turns than others."""
    found = np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))
    for row, p in enumerate(model.read([conversation(episode) for episode in episodes])):
        ends = [len(turn.prompt) + len(turn.reply.tokens) - 1 for turn in episodes[row].turns]
        found[row, : len(ends)] = p[ends]
    return found


def conversation(episode: Episode) -> Tokens:
    """All of an episode's tokens."""
    return episode.turns[-1].prompt + episode.turns[-1].reply.tokens


def rectangle(rows: Sequence[Tokens]) -> tuple[Int[Tensor, "b t"], Int[Tensor, " b"]]:
    """Ragged rows, padded on the right, and their lengths."""
    tokens = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return tokens, torch.tensor([len(row) for row in rows])


def pieces(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Rows cut into pieces of at most ``tokens`` padded tokens (at least one row each), alike in length."""
    order, at = sorted(range(len(lengths)), key=lambda i: -lengths[i]), 0
    while at < len(order):
        count = max(1, tokens // max(lengths[order[at]], 1))
        yield order[at : at + count]
        at += count
