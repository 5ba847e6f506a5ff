"""Tiny models as repositories hold them, and a hub on the loopback interface that serves them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from hub_server import HubServer, _Handler, serve_hub
from tokenizers import BertWordPieceTokenizer

from electralab.config import DownloadedModel

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "small", "model", "##s", "of", "words", ".", "##word"]
COMMIT = "c" * 40

# The real command line; the hub client's pauses between attempts are not waited for.
IMPATIENT = "import sys, time; from electralab.cli import main; time.sleep = lambda _: None; sys.exit(main())"


def write_bert(folder: Path) -> Path:
    """A BERT as older repositories have it: `vocab.txt` alone, no names of special tokens."""
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    return folder


def write_tokenizer_json(folder: Path) -> None:
    """As sentence-embedding models have it: cut at a length and filled up to it."""
    tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(folder / "tokenizer.json"))


class _ModelHandler(_Handler):
    """Models lie at the root of the hub, data sets in a folder."""

    def _answer(self) -> None:
        if not self.path.startswith(("/api/", "/datasets/")):
            self.path = f"/datasets{self.path}"
        super()._answer()


@contextlib.contextmanager
def serve_model(folder: Path, repository: str = "tiny/bert") -> Iterator[HubServer]:
    with serve_hub() as server:
        server.RequestHandlerClass = _ModelHandler
        server.files = {(repository, COMMIT): {path.name: path.read_bytes() for path in folder.iterdir()}}
        yield server


def fetch(folder: Path, spec: DownloadedModel, url: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`electralab model` in a process of its own, because the hub's client reads its settings when imported."""
    command = [sys.executable, "-c", IMPATIENT, "model", "tiny", "--spec", spec.canonical()]
    command += ["--out", str(folder / "out" / "manifest.json")]
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": url, "HF_HOME": str(folder / "hub"), **env}
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, env=environment)
