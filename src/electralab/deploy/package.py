"""A graph with its tokenizer and labels, opened without PyTorch and pydantic: numpy, `tokenizers` and a runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from electralab.deploy.answers import Floats
from electralab.deploy.graphs import GRAPHS, Graph, Integers, open_graph
from electralab.deploy.rows import EVALUATION_BATCH_SIZE, TokenRow, token_row
from electralab.deploy.texts import Text
from electralab.deploy.tokenizer import PlainTokenizer
from electralab.errors import UserError
from electralab.files import check_files, read_json
from electralab.model_files import TOKENIZER
from electralab.names import MANIFEST, MANIFEST_SCHEMA


class Deployed(NamedTuple):
    """A model that answers texts."""

    labels: list[str]  # none of a regression
    task: str
    pairs: bool | None  # whether it reads pairs of texts
    max_length: int  # tokens of a row
    offset: float  # the score of a regression is offset + scale * output
    scale: float
    tokenizer: PlainTokenizer
    graph: Graph

    def answer(self, texts: list[Text]) -> Floats:
        """Log-probabilities [N, classes], or the scores [N] of a regression.

        Raises:
            UserError: the model answers with something that is not a finite number.
        """
        rows = text_rows(self.tokenizer, texts, self.max_length)
        # Rows of like length together, because padding costs as much as text.
        order = np.argsort([len(row.ids) for row in rows], kind="stable")
        found = []
        for start in range(0, len(order), EVALUATION_BATCH_SIZE):
            batch = [rows[index] for index in order[start : start + EVALUATION_BATCH_SIZE]]
            found.append(self.graph(*padded(batch, self.tokenizer.pad_id)))
        logits = np.concatenate(found)[np.argsort(order)].astype(np.float64)
        if not np.isfinite(logits).all():
            raise UserError("the model answers with NaN or infinity: export it again")
        if not self.labels:
            return self.offset + self.scale * logits[:, 0]
        shifted = logits - logits.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def manifest_in(path: Path) -> Path:
    """The manifest of an artifact, of which the folder or the run's folder may be named.

    Raises:
        UserError: there is none.
    """
    for candidate in (path, path / MANIFEST, path / "model" / MANIFEST):
        if candidate.name == MANIFEST and candidate.is_file():
            return candidate
    raise UserError(f"{path} holds nothing that a run left: name the folder `model` of a run, or its {MANIFEST}")


def is_graph(manifest: Path) -> bool:
    """Whether an artifact is a graph, which answers without PyTorch."""
    told = read_json(manifest)
    return isinstance(told, dict) and told.get("form") in GRAPHS


def open_deployed(manifest: Path, threads: int) -> Deployed:
    """Open a graph by the manifest beside it.

    Raises:
        UserError: the manifest is damaged or of another schema, or a file is missing or was changed.
        Unsuitable: what runs the graph is not installed.
    """
    told: dict[str, Any] = read_json(manifest)
    folder, remedy = manifest.parent, f"export it again to {manifest.parent}"
    try:
        if told["schema_version"] != MANIFEST_SCHEMA:
            raise UserError(
                f"{manifest} is of schema {told['schema_version']}, and this version of ElectraLab reads "
                f"{MANIFEST_SCHEMA}: {remedy}"
            )
        check_files(folder, told["files"], manifest, remedy)
        reads = told["reads"]
        return Deployed(
            labels=list(told["labels"]),
            task=str(told["task"]),
            pairs=reads["pairs"],
            max_length=int(reads["max_length"]),
            offset=float(reads["offset"]),
            scale=float(reads["scale"]),
            tokenizer=PlainTokenizer(folder / TOKENIZER),
            graph=open_graph(folder, told["form"], threads),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{manifest} is not the manifest of a graph ({error!r}): {remedy}") from error


def text_rows(tokenizer: PlainTokenizer, texts: Sequence[Text], max_length: int) -> list[TokenRow]:
    """Texts and pairs as rows of at most `max_length` tokens."""
    first = tokenizer.encode([text.text for text in texts])
    second = tokenizer.encode([text.pair or "" for text in texts])
    return [
        token_row(ids, None if text.pair is None else pair, tokenizer.cls_id, tokenizer.sep_id, max_length)
        for text, ids, pair in zip(texts, first, second)
    ]


def padded(rows: list[TokenRow], pad_id: int) -> tuple[Integers, Integers, Integers]:
    """Rows as a graph takes them: ids, mask and token types, [B, S] each, padded to the longest."""
    shape = len(rows), max(len(row.ids) for row in rows)
    ids, mask, types = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = row.ids
        mask[place, : len(row.ids)] = 1
        types[place, row.first_length : len(row.ids)] = 1
    return ids, mask, types
