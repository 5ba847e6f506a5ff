"""New texts, answered by a graph without PyTorch."""

from __future__ import annotations

from pathlib import Path

from electralab.deploy.answers import Output, write_answers
from electralab.deploy.package import open_deployed
from electralab.deploy.texts import Source, checked, read_texts


def predict_texts(manifest: Path, source: Source, output: Output, threads: int) -> int:
    """Answer texts with the graph beside a manifest, and write the answers to a file or to standard output.

    Returns:
        The number of texts.

    Raises:
        UserError: the artifact is damaged, or a text or its pair is missing.
        Unsuitable: what runs the graph is not installed.
    """
    deployed = open_deployed(manifest, threads)
    texts = checked(read_texts(source), deployed.pairs, deployed.task)
    return write_answers(texts, deployed.answer, deployed.labels, output)
