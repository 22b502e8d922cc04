"""The outcome reward model: a language model with a linear head that predicts whether a reply will be right."""

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

MICRO_TOKENS = 2**13  # maximum number of padded tokens of one forward pass; no result depends on it
ABOUT, HEAD = "orm.json", "head.pt"


class OutcomeModel(nn.Module):
    """A language model's body with a linear head.

    Args:
        body: The body, which returns hidden states.
        tokenizer: The tokenizer, which is the policy's.
        about: The content of orm.json: ``base`` (the policy.path of the initial weights), ``kind`` (outcome or step),
            and metrics on held-out problems.
    """

    def __init__(self, body: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, about: dict[str, Any]) -> None:
        super().__init__()
        self.body, self.tokenizer, self.about = body.eval(), tokenizer, about  # no dropout, as in the policy
        self.head = nn.Linear(body.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.head.weight)  # an untrained model predicts 1/2 everywhere
        nn.init.zeros_(self.head.bias)
        self.head.to(body.device)

    @classmethod
    def load(cls, path: str | Path) -> OutcomeModel:
        """Load the model that ``save`` wrote to a folder.

        Raises:
            FileNotFoundError: If the folder contains no model.
        """
        folder = Path(path).expanduser()
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        body = AutoModel.from_pretrained(folder, dtype="auto", attn_implementation="sdpa")
        model = cls(body, AutoTokenizer.from_pretrained(folder), about)
        model.head.load_state_dict(torch.load(folder / HEAD, weights_only=True, map_location="cpu"))
        return model

    def save(self, path: str | Path) -> None:
        """Write the body, the tokenizer, the head and orm.json to a folder.

        orm.json is written last. A folder without it is not a model.
        """
        folder = Path(path).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ABOUT).unlink(missing_ok=True)  # an incomplete folder must not count as a model
        self.body.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        torch.save(self.head.state_dict(), folder / HEAD)
        (folder / ABOUT).write_text(json.dumps(self.about, indent=2) + "\n", encoding="utf-8")

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """Return the log-odds of being right after each token.

        Rows are padded on the right. A causal model does not attend to this padding.

        Args:
            tokens: The tokens of each conversation, padded on the right.
        """
        hidden = self.body(input_ids=tokens, use_cache=False).last_hidden_state
        return self.head(hidden.float())[..., 0]

    def p(self, tokens: Int[Tensor, "b t"], lengths: Int[Tensor, " b"]) -> Float[Tensor, "b t"]:
        """Return the probability of being right after each token, without gradient.

        Args:
            tokens: The tokens of each conversation, padded on the right.
            lengths: The number of tokens of each row. Probabilities at padding are 0.
        """
        with torch.no_grad():
            probability = torch.sigmoid(self(tokens))
        return probability.masked_fill(torch.arange(tokens.shape[1], device=tokens.device) >= lengths[:, None], 0.0)

    def read(self, rows: Sequence[Tokens]) -> list[Float[np.ndarray, " t"]]:
        """Return the probability of being right after each token of each row.

        Args:
            rows: The tokens of each conversation.

        Returns:
            One array for each row.

        Raises:
            UserError: If a token is not in the vocabulary of this model.
        """
        vocabulary = self.body.get_input_embeddings().num_embeddings
        if (largest := max((token for row in rows for token in row), default=0)) >= vocabulary:
            raise UserError(
                f"the outcome model of {self.about['base']} has {vocabulary} tokens and was given token {largest}; "
                f"allowed: a model that `python run.py job=train_orm` trained for this policy"
            )
        probabilities: dict[int, np.ndarray] = {}
        for piece in pieces([len(row) for row in rows], MICRO_TOKENS):
            tokens, lengths = rectangle([rows[i] for i in piece])
            values = self.p(tokens.to(self.body.device), lengths.to(self.body.device)).cpu().numpy()
            probabilities |= {i: value[: len(rows[i])] for i, value in zip(piece, values, strict=True)}
        return [probabilities[i] for i in range(len(rows))]

    def step_ends(self, turn: Turn) -> list[int]:
        """Return the positions in the conversation of the tokens that complete the steps of a reply, in order.

        The last position is the reply's last token. A step inside the prefill has no token in the reply and is left
        out. One token may complete two steps.

        Args:
            turn: The turn of the reply.
        """
        reply, first = turn.reply, len(turn.prompt)
        sampled = reply.tokens[:-1] if reply.stop == "end" else reply.tokens
        prefill, last = len(reply.text) - len(self._text(sampled)), len(reply.tokens) - 1  # characters, tokens
        chars = [end - prefill for end in accumulate(map(len, split_steps(reply.text)[:-1])) if end > prefill]
        ends = [bisect_left(range(last), char, key=lambda i: len(self._text(sampled[: i + 1]))) for char in chars]
        return [first + end for end in (*ends, last)]

    def _text(self, tokens: Tokens) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def outcome_model(key: str, path: str) -> OutcomeModel:
    """Load an outcome model for inference, on the GPU if there is one.

    Args:
        key: The configuration key of the path, for the error message.
        path: The folder of the model.

    Raises:
        UserError: If the folder contains no model.
    """
    if not (Path(path).expanduser() / ABOUT).is_file():
        raise UserError(
            f"{key}={path}: no outcome model is in this folder; train one with `python run.py job=train_orm "
            f"orm.path={path}`, or set the folder of an existing model"
        )
    return OutcomeModel.load(path).requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")


def rank(model: OutcomeModel, episodes: Sequence[Episode]) -> Float[np.ndarray, " b"]:
    """Return the probability that the last reply of each episode is right.

    best_of_n and rerank@k order episodes by this probability.
    """
    return np.array([p[-1] for p in model.read([conversation(episode) for episode in episodes])])


def at_ends(model: OutcomeModel, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
    """Return the probability of being right at the end of each turn, [b k]; 0 after the last turn of an episode."""
    values = np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))
    for row, p in enumerate(model.read([conversation(episode) for episode in episodes])):
        ends = [len(turn.prompt) + len(turn.reply.tokens) - 1 for turn in episodes[row].turns]
        values[row, : len(ends)] = p[ends]
    return values


def conversation(episode: Episode) -> Tokens:
    """Return all tokens of an episode."""
    return episode.turns[-1].prompt + episode.turns[-1].reply.tokens


def rectangle(rows: Sequence[Tokens]) -> tuple[Int[Tensor, "b t"], Int[Tensor, " b"]]:
    """Return token rows as one tensor, padded on the right, and their lengths."""
    tokens = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return tokens, torch.tensor([len(row) for row in rows])


def pieces(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Yield the indices of rows in micro-batches, the longest rows first.

    Args:
        lengths: The length of each row.
        tokens: The maximum number of padded tokens of a micro-batch. A micro-batch has at least one row.
    """
    order, begin = sorted(range(len(lengths)), key=lambda i: -lengths[i]), 0
    while begin < len(order):
        count = max(1, tokens // max(lengths[order[begin]], 1))
        yield order[begin : begin + count]
        begin += count
