"""Decoders that answer a task in words: prompts as token ids, and the logits of the label words behind them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from electralab.config import Answers
from electralab.data.example import Example
from electralab.deploy.rows import pair_lengths
from electralab.errors import Unsuitable
from electralab.files import read_json
from electralab.finetune.decoder.prompts import PromptTokenizer, Template
from electralab.finetune.examples import EncodedExamples, Integers, LabelledBatch
from electralab.finetune.trained_model import TrainedModel
from electralab.speed.dropout import use_fast_dropout
from electralab.speed.onednn import use_onednn


@dataclass(frozen=True)
class EncodedPrompts(EncodedExamples):
    """Prompts end to end, each with the token that the model expects in front; batches are padded on the left.

    So the last position of every row is where the answer comes.
    """

    def batch(self, rows: Integers, start: int = 0) -> LabelledBatch:
        """The given rows in the given order from token `start` on, padded on the left to the longest of them."""
        lengths = self.lengths[rows, None] - start
        width = lengths.max()
        position = np.arange(width) - (width - lengths)  # in the row; negative where there is padding
        real = position >= 0
        index = np.where(real, self.offsets[rows, None] + start + position, 0)
        return LabelledBatch(
            torch.from_numpy(np.where(real, self.tokens[index], self.pad_id)),
            None if real.all() else torch.from_numpy(real),
            None,
            torch.from_numpy(self.labels[rows]),
        )

    def shared_start(self, rows: Integers) -> int:
        """Tokens that all of the given rows begin with; every row keeps at least one of its own."""
        shared = int(self.lengths[rows].min()) - 1
        first = self.tokens[self.offsets[rows[0]] :][:shared]
        for row in rows[1:]:
            different = np.nonzero(self.tokens[self.offsets[row] :][:shared] != first[:shared])[0]
            shared = int(different[0]) if len(different) else shared
        return shared


def encode_prompts(
    examples: list[Example], template: Template, tokenizer: PromptTokenizer, max_length: int
) -> EncodedPrompts:
    """A split as prompts without answers, every one cut to `max_length` tokens within its texts.

    Raises:
        Unsuitable: the template alone is longer than that.
    """
    prompts = tokenizer.encode([template.prompt(example) for example in examples])
    rows = [
        prompt if len(prompt) <= max_length else shortened_prompt(example, template, tokenizer, max_length)
        for example, prompt in zip(examples, prompts)
    ]
    return pack_prompts(rows, examples, tokenizer)


def shortened_prompt(example: Example, template: Template, tokenizer: PromptTokenizer, max_length: int) -> list[int]:
    """The ids of a prompt whose texts lose their ends, the longer one first; the words of the template stay.

    Raises:
        Unsuitable: the template alone is longer than `max_length`.
    """
    text, pair = tokenizer.count(example.text), tokenizer.count(example.pair or "")
    budget = text + pair
    while True:
        first, second = pair_lengths(text, pair, budget)
        short = example._replace(
            text=tokenizer.cut(example.text, first),
            pair=None if example.pair is None else tokenizer.cut(example.pair, second),
        )
        ids = tokenizer.encode([template.prompt(short)])[0]
        if len(ids) <= max_length:
            return ids
        if budget == 0:
            raise Unsuitable(
                f"max_length {max_length} leaves no room for a text: the task's template alone takes {len(ids)} tokens"
            )
        # Where texts meet the template, or where a token is cut in its middle, the count may differ by a few.
        budget = max(0, budget - (len(ids) - max_length))


def pack_prompts(rows: list[list[int]], examples: list[Example], tokenizer: PromptTokenizer) -> EncodedPrompts:
    """Prompts that are already ids, with the labels of their examples (-1 where there is none)."""
    lengths = np.array([len(row) for row in rows], np.int64)
    return EncodedPrompts(
        tokens=np.fromiter(chain.from_iterable(rows), np.int64),
        offsets=np.cumsum([0, *lengths], dtype=np.int64),
        first_lengths=lengths,
        labels=np.array([-1 if example.label is None else example.label for example in examples], np.int64),
        pad_id=tokenizer.pad_id,
    )


def check_positions(folder: Path, max_length: int, method: str) -> None:
    """Refuse prompts that the model has no positions for.

    Raises:
        Unsuitable: names both lengths.
    """
    positions = read_json(folder / "config.json").get("max_position_embeddings")
    if positions is not None and max_length > positions:
        raise Unsuitable(
            f"method {method}: max_length {max_length} is longer than the {positions} positions of the model in "
            f"{folder}: lower it"
        )


class VerbalizedDecoder(TrainedModel):
    """A causal language model that answers with the logits of its label words as the next token.

    Args:
        model: takes `input_ids`, `attention_mask`, `position_ids` and `logits_to_keep`, as OPT and Llama do.
        label_ids: the token of every class.
        answers: `as_published`, it is trained to tell the label words from all other words too.
    """

    label_ids: Tensor

    def __init__(self, model: nn.Module, label_ids: list[int], answers: Answers = "label_words") -> None:
        super().__init__()
        self.model = model
        self.answers = answers
        device = next(model.parameters()).device
        self.register_buffer("label_ids", torch.tensor(label_ids, device=device), persistent=False)
        use_onednn(self)
        use_fast_dropout(self)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, _token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Logits as `label_logits` gives them.

        Args:
            input_ids: [B, S] int64, padded on the left.
            attention_mask: [B, S] bool, True for real tokens; None = no padding.
        """
        output = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=None if attention_mask is None else left_padded_positions(attention_mask),
            logits_to_keep=1,
            use_cache=False,
        )
        return label_logits(output, self.label_ids, self.answers)


def label_logits(output: Any, label_ids: Tensor, answers: Answers = "label_words") -> Tensor:
    """Logits of the label words at the last position of a causal model's output, [B, classes].

    `as_published` and where gradients are kept, a last column stands for all other words together, [B, classes + 1]:
    the cross-entropy of a label is then that of its word among the whole vocabulary.
    """
    logits: Tensor = output.logits[:, -1]
    words = logits[:, label_ids]
    if answers == "label_words" or not torch.is_grad_enabled():
        return words
    others = logits.float().index_fill(1, label_ids, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.cat([words.float(), others], dim=1)


def left_padded_positions(attention_mask: Tensor) -> Tensor:
    """Position of every token, counted from the first real one; 0 for padding. [B, S] -> [B, S]."""
    return (attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)
