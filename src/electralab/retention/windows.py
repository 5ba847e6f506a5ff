"""Windows of held-out documents: the same for every model that reads with one tokenizer."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from electralab.config import Retention
from electralab.errors import UserError
from electralab.tokens.tokenizer import TextEncoder


@dataclass(frozen=True)
class Windows:
    """N windows, padded to the longest, S tokens.

    Attributes:
        input_ids: [N, S] int64.
        lengths: [N] int64, without padding.
        scored: [N, S] bool: the tokens that count; each token of a document does so in one window.
        documents: [N] int64, the number of the document that a window is of.
    """

    input_ids: Tensor
    lengths: Tensor
    scored: Tensor
    documents: Tensor

    @property
    def real(self) -> Tensor:
        """[N, S] bool: all but padding."""
        return torch.arange(self.input_ids.shape[1]) < self.lengths[:, None]


class _Window(NamedTuple):
    document: int
    ids: list[int]
    first_scored: int  # in `ids`
    end_scored: int


def sampled_windows(documents: Iterable[str], tokenizer: TextEncoder, settings: Retention) -> Windows:
    """Cut documents into windows `[CLS] text [SEP]` and sample some, in memory that does not grow with the text.

    Raises:
        UserError: there is no text.
    """
    randomness, place = np.random.default_rng(settings.seed), count()
    kept: list[tuple[float, int, _Window]] = []  # those with the smallest random keys, the largest key in front
    for number, text in enumerate(documents):
        (ids,) = tokenizer.encode([text])
        for window in _cut(number, ids, settings):
            entry = (-float(randomness.random()), next(place), window)
            if len(kept) < settings.sequences:
                heapq.heappush(kept, entry)
            else:
                heapq.heappushpop(kept, entry)
    if not kept:
        raise UserError(f"corpus {settings.corpus} has no held-out text: raise its held_out_fraction or add text")
    windows = [window for _, _, window in sorted(kept, key=lambda entry: entry[1])]
    framed = [
        window._replace(
            ids=[tokenizer.cls_id, *window.ids, tokenizer.sep_id],
            first_scored=window.first_scored + 1,
            end_scored=window.end_scored + 1,
        )
        for window in windows
    ]
    return _padded(framed, tokenizer.pad_id)


def stream_windows(ids: Sequence[int], length: int, stride: int, pad_id: int) -> Windows:
    """Windows of one sequence of tokens, without tokens of their own; all but the first and the last token count.

    The last window ends with the sequence. One of fewer than three tokens has nothing that counts and is left out.
    """
    windows = []
    for number, start in enumerate(range(0, len(ids), stride)):
        window = list(ids[start : start + length])
        if len(window) > 2:
            windows.append(_Window(number, window, 1, len(window) - 1))
        if start + length >= len(ids):
            break
    return _padded(windows, pad_id)


def _cut(number: int, ids: Sequence[int], settings: Retention) -> Iterator[_Window]:
    width = settings.text_tokens
    seen = 0
    while seen < len(ids):
        start = 0 if seen == 0 else seen - width + (settings.stride or width)
        window = list(ids[start : start + width])
        yield _Window(number, window, seen - start, len(window))
        seen = start + len(window)


def _padded(windows: Sequence[_Window], pad_id: int) -> Windows:
    lengths = torch.tensor([len(window.ids) for window in windows])
    longest = int(lengths.max())
    ids = torch.full((len(windows), longest), pad_id)
    for row, window in zip(ids, windows):
        row[: len(window.ids)] = torch.tensor(window.ids)
    place = torch.arange(longest)
    first, end = (torch.tensor([getattr(w, name) for w in windows])[:, None] for name in ("first_scored", "end_scored"))
    return Windows(ids, lengths, (place >= first) & (place < end), torch.tensor([w.document for w in windows]))
