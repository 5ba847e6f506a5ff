"""New texts, answered by what a run left, whatever its form."""

from __future__ import annotations

from pathlib import Path

from electralab.data.example import Example
from electralab.deploy.answers import Floats, Output, write_answers
from electralab.deploy.texts import Source, Text, checked, read_texts
from electralab.methods.opening import open_artifact


def predict_texts(manifest: Path, source: Source, output: Output, device: str) -> int:
    """Answer texts as the run's `predictions.csv` answers rows, and write them to a file or to standard output.

    Args:
        manifest: of what a run left.
        source: the texts.
        output: where answers go.
        device: `cpu`, `cuda` or `cuda:N`.

    Returns:
        The number of texts.

    Raises:
        UserError: the artifact is damaged or holds no model, or a text or its pair is missing.
    """
    told, opened = open_artifact(manifest, device)

    def answer(texts: list[Text]) -> Floats:
        return opened.answer([Example(*text, None) for text in texts], device, str(manifest.parent))

    pairs = None if told.reads is None else told.reads.pairs
    return write_answers(checked(read_texts(source), pairs, told.task), answer, told.labels, output)
