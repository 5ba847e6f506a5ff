"""Killed workers, killed runs, full disks and damaged files around the token cache."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tokens_corpus import write_corpus

from electralab.config import TrainedTokenizer
from electralab.errors import UserError
from electralab.tokens import shards
from electralab.tokens.cache import TokenCache, build_cache
from electralab.tokens.shards import ShardTask, ensure_shard
from electralab.tokens.tokenizer import build_tokenizer, load_tokenizer

TRAIN = [[f"Shard {n} has document {i}, {'which goes on ' * (i % 40)}." for i in range(4000)] for n in range(3)]
BUILD = (
    "import sys\n"
    "from pathlib import Path\n"
    "from electralab.tokens.cache import build_cache\n"
    "if __name__ == '__main__':\n"
    "    build_cache(*map(Path, sys.argv[1:]), workers=1)\n"
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    corpus = write_corpus(folder / "corpus", TRAIN, [["Held out."]])
    spec = TrainedTokenizer(kind="wordpiece", corpus="fixture", vocab_size=300, max_documents=50)
    build_tokenizer(spec, folder / "tokenizer" / "tokenizer.json", folder, corpus)
    return corpus, folder / "tokenizer" / "tokenizer.json"


@pytest.fixture
def built(inputs: tuple[Path, Path], tmp_path: Path) -> Path:
    build_cache(*inputs, tmp_path / "tokens" / "manifest.json", workers=1)
    return tmp_path / "tokens" / "manifest.json"


def _files(folder: Path) -> dict[str, str]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _one_line(caught: pytest.ExceptionInfo[UserError], *words: str) -> None:
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, "the build ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("reached", ["train", "train/00000.json", "train/00001.tokens.bin", "train/00001.json"])
def test_a_killed_build_run_again_gives_the_same_bytes(
    inputs: tuple[Path, Path], built: Path, tmp_path: Path, reached: str
) -> None:
    script = tmp_path / "build.py"
    script.write_text(BUILD)
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, script, *inputs, folder / "manifest.json"], stderr=subprocess.DEVNULL, start_new_session=True
    )
    _wait_for(folder / reached, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # Only the parent was killed: its worker must follow, or it would write on behind the next run's back.
    deadline = time.monotonic() + 60
    while _living(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not (folder / "manifest.json").exists()
    build_cache(*inputs, folder / "manifest.json", workers=1)
    assert _files(folder) == _files(built.parent)


def _living(group: int) -> list[str]:
    """Processes of a group, without zombies: those are dead and only wait to be collected."""
    states = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = path.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ProcessLookupError):
            continue  # it ended while we looked
        if int(process_group) == group and state != "Z":
            states.append(path.parent.name)
    return states


def test_a_killed_worker_is_one_line(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    stop = threading.Event()

    def kill_workers() -> None:
        while not stop.is_set():
            for child in multiprocessing.active_children():
                if child.pid:
                    os.kill(child.pid, signal.SIGKILL)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        with pytest.raises(UserError) as caught:
            build_cache(*inputs, tmp_path / "manifest.json", workers=1)
    finally:
        stop.set()
        killer.join()
    _one_line(caught, "a worker was killed while tokenizing", "run the same command again")
    build_cache(*inputs, tmp_path / "manifest.json", workers=1)
    assert TokenCache(tmp_path / "manifest.json", "train").documents == 12_000


def test_a_damaged_corpus_shard_is_one_line(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", TRAIN[:1], [["Held out."]])
    (tmp_path / "corpus" / "train" / "00000.parquet").write_bytes(b"PAR1 nothing of the kind PAR1")
    with pytest.raises(UserError) as caught:
        build_cache(corpus, inputs[1], tmp_path / "tokens" / "manifest.json", workers=1)
    _one_line(caught, str(tmp_path / "corpus"))
    assert not (tmp_path / "tokens" / "manifest.json").exists()


@pytest.mark.parametrize("damage", ["truncated", "missing", "longer"])
@pytest.mark.parametrize("kind", ["tokens", "offsets"])
def test_a_file_of_the_wrong_size_is_named_with_its_remedy(
    inputs: tuple[Path, Path], built: Path, kind: str, damage: str
) -> None:
    expected = _files(built.parent)
    path = built.parent / "train" / f"00001.{kind}.bin"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-2] if damage == "truncated" else content + b"\0\0")
    with pytest.raises(UserError) as caught:
        TokenCache(built, "train")
    _one_line(caught, str(path), f"delete {built} and run the same command again")
    TokenCache(built, "held_out")
    build_cache(*inputs, built, workers=1)
    assert _files(built.parent) == expected


def test_a_changed_byte_is_not_trusted_by_the_next_build(inputs: tuple[Path, Path], built: Path) -> None:
    expected = _files(built.parent)
    path = built.parent / "train" / "00001.tokens.bin"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    build_cache(*inputs, built, workers=1)
    assert _files(built.parent) == expected


@pytest.mark.parametrize("kind", ["tokens", "offsets"])
def test_a_changed_byte_is_not_trusted_by_training(built: Path, kind: str) -> None:
    path = built.parent / "train" / f"00001.{kind}.bin"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        TokenCache(built, "train")
    _one_line(caught, str(path), f"delete {built} and run the same command again")


def test_ids_beyond_the_vocabulary_are_one_line(built: Path) -> None:
    """The manifest itself says that they belong there."""
    manifest = json.loads(built.read_text())
    path = built.parent / "train" / "00000.tokens.bin"
    content = np.frombuffer(path.read_bytes(), "<u2").copy()
    content[7] = manifest["vocab_size"]
    path.write_bytes(content.tobytes())
    manifest["train"][0]["tokens_sha256"] = hashlib.sha256(content.tobytes()).hexdigest()
    built.write_text(json.dumps(manifest))
    with pytest.raises(UserError) as caught:
        TokenCache(built, "train")
    _one_line(caught, str(path), "beyond the vocabulary")


def test_a_damaged_unigram_file_is_one_line(built: Path) -> None:
    path = built.parent / "unigram_counts.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError) as caught:
        TokenCache(built, "train").unigram_counts()
    _one_line(caught, str(path), f"delete {built}")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_damaged_manifest_is_one_line(built: Path, content: str) -> None:
    built.write_text(content)
    with pytest.raises(UserError) as caught:
        TokenCache(built, "train")
    _one_line(caught, str(built), "delete")


def test_another_tokenizer_than_the_caches_is_refused(inputs: tuple[Path, Path], built: Path, tmp_path: Path) -> None:
    spec = TrainedTokenizer(kind="byte_level_bpe", corpus="fixture", vocab_size=300, max_documents=50)
    build_tokenizer(spec, tmp_path / "bpe" / "tokenizer.json", tmp_path, inputs[0])
    cache = TokenCache(built, "train")
    cache.check_tokenizer(inputs[1])
    with pytest.raises(UserError) as caught:
        cache.check_tokenizer(tmp_path / "bpe" / "tokenizer.json")
    _one_line(caught, str(built), "made with another tokenizer", str(tmp_path / "bpe"))


@pytest.mark.parametrize("content", ["", "{}", '{"model": 3}'])
def test_a_damaged_tokenizer_is_one_line(inputs: tuple[Path, Path], tmp_path: Path, content: str) -> None:
    tokenizer_json = tmp_path / "tokenizer.json"
    tokenizer_json.write_text(content)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError) as caught:
        load_tokenizer(tokenizer_json)
    _one_line(caught, str(tokenizer_json))


def test_a_full_disk_is_one_line_and_leaves_nothing_to_trust(
    inputs: tuple[Path, Path], built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, tokenizer_json = inputs
    encoder = load_tokenizer(tokenizer_json)
    task = ShardTask(corpus, "train", 0, "checksum", tokenizer_json, encoder.checksum, tmp_path / "full" / "train")
    write = shards._HashedFile.write

    def write_to_a_full_disk(self: shards._HashedFile, data: bytes) -> None:
        if self.size > 10_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(shards._HashedFile, "write", write_to_a_full_disk)
        with pytest.raises(UserError) as caught:
            ensure_shard(task, encoder.vocab_size, encoder.sep_id)
    _one_line(caught, "no space left on the disk", "run the same command again")
    assert not list(task.folder.iterdir())
    ensure_shard(task, encoder.vocab_size, encoder.sep_id)
    assert task.path("tokens.bin").read_bytes() == (built.parent / "train" / "00000.tokens.bin").read_bytes()
