"""A graph of another runtime as a `Model`, with nothing but numpy and `tokenizers` beside the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from electralab.benchmark.models import Batch
from electralab.deploy.graphs import Graph
from electralab.deploy.package import text_rows
from electralab.deploy.rows import TokenRow
from electralab.deploy.texts import Text
from electralab.deploy.tokenizer import PlainTokenizer
from electralab.files import read_json
from electralab.model_files import TOKENIZER
from electralab.names import MANIFEST


class GraphModel:
    """See `Model`.

    Args:
        folder: of the artifact, with its tokenizer.
        graph: opened.
        kernel: what runs it.
    """

    def __init__(self, folder: Path, graph: Graph, kernel: str) -> None:
        self._graph, self.kernel = graph, kernel
        self._tokenizer = PlainTokenizer(folder / TOKENIZER)
        self._longest = int(read_json(folder / MANIFEST)["reads"]["max_length"])
        self.vocabulary, self.pad_id = self._tokenizer.vocab_size, self._tokenizer.pad_id

    def rows(self, texts: Sequence[Text]) -> list[TokenRow]:
        """See `Model`."""
        return text_rows(self._tokenizer, texts, self._longest)

    def __call__(self, batch: Batch) -> npt.NDArray[Any]:
        """See `Model`."""
        return self._graph(*batch)
