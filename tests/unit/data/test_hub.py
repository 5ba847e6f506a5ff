"""The hub through its own clients, against a stand-in on the loopback interface.

Each run is a process of its own, because the clients read `HF_ENDPOINT` and `HF_HOME` when they are imported.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import HubServer, serve_hub

from electralab.config import Corpus, GlueHub, GlueTask, HubTask, HubText, TableColumns
from electralab.data.corpora import iter_documents
from electralab.data.example import Example
from electralab.data.tasks import TaskData, read_task
from electralab.files import read_json, sha256

FIRST, SECOND = "1" * 40, "2" * 40  # commits

# The real command line, with pauses that are noted and not waited for.
IMPATIENT = """
import sys, time
from electralab.cli import main
waited = []
time.sleep = waited.append
code = main()
print("waited", sum(waited))
sys.exit(code)
"""


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def rte(text: str, rows: int = 4) -> dict[str, bytes]:
    """The files of RTE as `nyu-mll/glue` has them; `text` tells one commit from another."""

    def table(split: str) -> bytes:
        return parquet(
            [
                {
                    "sentence1": f"{text} {split} {number}",
                    "sentence2": "pair",
                    "label": -1 if split == "test" else number % 2,
                    "idx": number,
                }
                for number in range(rows)
            ]
        )

    return {f"rte/{split}-00000-of-00001.parquet": table(split) for split in ("train", "validation", "test")}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serve_hub() as server:
        server.files = {("nyu-mll/glue", FIRST): rte("first"), ("nyu-mll/glue", SECOND): rte("second")}
        yield server


class Outcome:
    """What a run of `electralab task` or `corpus` left."""

    def __init__(self, done: subprocess.CompletedProcess[str], manifest: Path) -> None:
        self.done, self.manifest = done, manifest

    @property
    def data(self) -> TaskData:
        assert self.done.returncode == 0, self.done.stderr
        return read_task(self.manifest)

    @property
    def waited(self) -> float:
        return float(re.search(r"^waited (\S+)", self.done.stdout, re.M)[1])

    @property
    def error(self) -> str:
        """The one line of an error; the clients' own warnings go before it."""
        assert self.done.returncode == 1 and "Traceback" not in self.done.stderr
        assert not self.manifest.parent.exists() or not list(self.manifest.parent.rglob("*.*l"))
        return self.done.stderr.strip().splitlines()[-1]


def build(tmp_path: Path, url: str, spec: GlueTask | HubTask | Corpus, verb: str = "task", **env: str) -> Outcome:
    manifest = tmp_path / "out" / "manifest.json"
    command = [sys.executable, "-c", IMPATIENT, verb, "t", "--spec", spec.canonical(), "--out", str(manifest)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hub"), **env}
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, env=environment)
    return Outcome(done, manifest)


def glue(revision: str = FIRST, task: str = "rte") -> GlueTask:
    return GlueTask.model_validate({"task": task, "location": GlueHub(revision=revision)})


def test_the_rows_of_the_pinned_revision_arrive(tmp_path: Path, hub: HubServer) -> None:
    outcome = build(tmp_path, hub.url, glue(SECOND))
    data = outcome.data
    assert data.train == [Example(str(n + 1), f"second train {n}", "pair", n % 2) for n in range(4)]
    assert data.labels == ["entailment", "not_entailment"] and data.glue == "rte" and data.metrics == ["accuracy"]
    assert [example.label for example in data.splits["test"]] == [None] * 4
    assert hub.requests and all(f"/resolve/{SECOND}/" in request for request in hub.requests)
    content = read_json(outcome.manifest)
    assert content["sources"][0]["version_or_revision"] == SECOND
    assert content["splits"]["train"]["official_rows"] == 2490
    assert "validation: sample of 4 of the official 277 rows" in content["notes"]


def test_the_cache_is_reused_also_without_a_network(tmp_path: Path, hub: HubServer) -> None:
    first = build(tmp_path, hub.url, glue()).data
    assert len(hub.downloads) == 3
    hub.requests.clear()
    assert build(tmp_path, hub.url, glue()).data == first
    assert not hub.requests
    assert build(tmp_path, "http://127.0.0.1:1", glue(), HF_HUB_OFFLINE="1").data == first


def test_another_cached_revision_is_no_substitute(tmp_path: Path, hub: HubServer) -> None:
    """`datasets` would take the newest revision in its cache."""
    assert build(tmp_path, hub.url, glue(FIRST)).data
    (tmp_path / "out").rename(tmp_path / "earlier")
    assert SECOND in build(tmp_path, hub.url, glue(SECOND), HF_HUB_OFFLINE="1").error


def test_mnli_comes_with_its_mismatched_and_diagnostic_rows(tmp_path: Path, hub: HubServer) -> None:
    def table(text: str, *labels: int) -> bytes:
        return parquet([{"premise": text, "hypothesis": "h", "label": n, "idx": i} for i, n in enumerate(labels)])

    splits = ("train", "validation_matched", "validation_mismatched")
    files = {f"mnli/{split}-00000-of-00001.parquet": table(split, 0, 1, 2) for split in splits}
    tests = ("mnli/test_matched", "mnli/test_mismatched", "ax/test")
    files |= {f"{split}-00000-of-00001.parquet": table(split, -1) for split in tests}
    hub.files["nyu-mll/glue", FIRST] = files
    data = build(tmp_path, hub.url, glue(task="mnli")).data
    assert {split: (examples[0].text, [e.label for e in examples]) for split, examples in data.splits.items()} == {
        "train": ("train", [0, 1, 2]),
        "validation": ("validation_matched", [0, 1, 2]),
        "validation_mismatched": ("validation_mismatched", [0, 1, 2]),
        "test": ("mnli/test_matched", [None]),
        "test_mismatched": ("mnli/test_mismatched", [None]),
        "ax": ("ax/test", [None]),
    }


def test_a_download_that_breaks_off_is_resumed(tmp_path: Path, hub: HubServer) -> None:
    hub.files["nyu-mll/glue", FIRST] = files = rte("first", rows=3000)
    hub.faults["train"] = "truncated_once"
    outcome = build(tmp_path, hub.url, glue())
    assert len(outcome.data.train) == 3000 and not hub.faults
    blobs = {sha256(path) for path in (tmp_path / "hub").rglob("*.parquet")}
    assert len(blobs) == len(files)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("500", r"is not in the cache \(HfHubHTTPError: .*500 Internal Server Error.*; check the name"),
        ("truncated", r"cannot be read: RemoteProtocolError: peer closed connection .*; check the name"),
        ("short", r"cannot be read: OSError: Consistency check failed: file should be of size"),
    ],
)
def test_a_failing_hub_is_one_line_after_bounded_retries(
    tmp_path: Path, hub: HubServer, fault: str, message: str
) -> None:
    hub.faults["validation"] = fault
    outcome = build(tmp_path, hub.url, glue())
    file = f"rte/validation-00000-of-00001.parquet, revision {FIRST}"
    assert outcome.error.startswith(f"electralab: hub data set nyu-mll/glue ({file})")
    assert re.search(message, outcome.error)
    assert outcome.waited <= 60
    hub.faults.clear()
    assert len(build(tmp_path, hub.url, glue()).data.validation) == 4


@pytest.mark.parametrize(
    ("repository", "revision", "said"),
    [
        ("nobody/nothing", FIRST, "no such repository"),
        ("nyu-mll/glue", "3" * 40, "no such revision"),
        ("nyu-mll/glue", SECOND, "no such file"),
    ],
)
def test_what_the_hub_does_not_have_is_named(
    tmp_path: Path, hub: HubServer, repository: str, revision: str, said: str
) -> None:
    del hub.files["nyu-mll/glue", SECOND]["rte/train-00000-of-00001.parquet"]
    spec = GlueTask(task="rte", location=GlueHub(repository=repository, revision=revision))
    outcome = build(tmp_path, hub.url, spec)
    where = f"{repository} (rte/train-00000-of-00001.parquet, revision {revision})"
    assert where in outcome.error and said in outcome.error
    assert outcome.waited == 0


@pytest.mark.parametrize(
    ("offline", "message"), [("0", "Connection refused"), ("1", "HF_HUB_OFFLINE|offline mode|outgoing traffic")]
)
def test_no_network_is_one_line(tmp_path: Path, offline: str, message: str) -> None:
    outcome = build(tmp_path, "http://127.0.0.1:1", glue(), HF_HUB_OFFLINE=offline)
    assert re.search(message, outcome.error)
    assert (
        "hub data set nyu-mll/glue (rte/train" in outcome.error
        and "check the name, the revision and the network" in outcome.error
    )
    assert outcome.waited <= 60


def test_a_column_or_label_of_the_hub_that_does_not_fit_is_named(tmp_path: Path, hub: HubServer) -> None:
    files = hub.files["nyu-mll/glue", FIRST]
    files["rte/train-00000-of-00001.parquet"] = parquet([{"sentence1": "a", "sentence2": "b", "label": -1}])
    assert "row 1, column 'label': '-1' means that the row has no label" in build(tmp_path, hub.url, glue()).error
    hub.files["nyu-mll/glue", SECOND]["rte/train-00000-of-00001.parquet"] = parquet([{"sentence1": "a", "label": 1}])
    assert "no column 'sentence2'; it has sentence1, label" in build(tmp_path, hub.url, glue(SECOND)).error


def test_tasks_and_texts_of_any_repository_are_fetched(tmp_path: Path, hub: HubServer) -> None:
    rows = [{"text": f"document number {n}", "label": n % 2} for n in range(40)]
    hub.files["someone/reviews", FIRST] = {
        "data/train-00000-of-00001.parquet": parquet(rows),
        "data/test-00000-of-00001.parquet": parquet(rows[:3]),
    }
    columns = TableColumns(text="text")
    task = HubTask(
        repository="someone/reviews",
        revision=FIRST,
        validation_split="test",
        columns=columns,
        labels=["0", "1"],
        accept_overlap=True,
    )
    data = build(tmp_path, hub.url, task).data
    assert len(data.train) == 40 and data.validation == data.train[:3]
    assert data.metrics == ["accuracy", "f1"] and data.glue is None
    corpus = Corpus(parts=[HubText(repository="someone/reviews", revision=FIRST)], shards=1, held_out_fraction=0.3)
    (tmp_path / "corpus").mkdir()
    outcome = build(tmp_path / "corpus", hub.url, corpus, "corpus")
    assert outcome.done.returncode == 0, outcome.done.stderr
    documents = {*iter_documents(outcome.manifest, "train"), *iter_documents(outcome.manifest, "held_out")}
    assert documents == {row["text"] for row in rows}


def text_files(files: int, rows: int = 40) -> dict[str, bytes]:
    return {
        f"data/train-{number:05d}-of-{files:05d}.parquet": parquet(
            [{"text": f"document {row} of file {number}", "other": row} for row in range(rows)]
        )
        for number in range(files)
    }


TEXT = Corpus(parts=[HubText(repository="someone/text", revision=FIRST)], shards=1, held_out_fraction=0.3)


def test_text_whose_last_file_fails_goes_on_with_that_file(tmp_path: Path, hub: HubServer) -> None:
    """Nothing that has arrived is asked for again, and what comes out is what an undisturbed run gives."""
    files = hub.files["someone/text", FIRST] = text_files(5)
    (last,) = [name for name in files if "00004-of" in name]
    hub.faults[last] = "500"
    failed = build(tmp_path, hub.url, TEXT, "corpus")
    assert f"hub data set someone/text ({last}, revision 1111" in failed.error and failed.waited <= 60
    hub.faults.clear()
    hub.requests.clear()
    outcome = build(tmp_path, hub.url, TEXT, "corpus")
    assert outcome.done.returncode == 0, outcome.done.stderr
    assert [name for name in hub.downloads if name.endswith(".parquet")] == [
        f"/datasets/someone/text/resolve/{FIRST}/{last}"
    ]
    documents = {*iter_documents(outcome.manifest, "train"), *iter_documents(outcome.manifest, "held_out")}
    assert documents == {f"document {row} of file {number}" for row in range(40) for number in range(5)}
    sources = read_json(outcome.manifest)["sources"]
    assert [source["file"] for source in sources] == list(files)
    assert [source["sha256"] for source in sources] == [hashlib.sha256(file).hexdigest() for file in files.values()]


def test_a_file_that_rotted_in_the_cache_is_named(tmp_path: Path, hub: HubServer) -> None:
    hub.files["someone/text", FIRST] = text_files(1)
    assert build(tmp_path, hub.url, TEXT, "corpus").done.returncode == 0
    shutil.rmtree(tmp_path / "out")
    (cached,) = (tmp_path / "hub").rglob("*.parquet")
    content = bytearray(cached.read_bytes())
    content[len(content) // 2] ^= 1
    cached.resolve().write_bytes(content)
    assert f"{cached.resolve()} is damaged: delete it" in build(tmp_path, hub.url, TEXT, "corpus").error


def test_text_of_another_format_that_is_long_enough_is_not_downloaded_whole(tmp_path: Path, hub: HubServer) -> None:
    hub.files["someone/text", FIRST] = {
        f"train-{number}.jsonl.gz": gzip.compress(
            "".join(f'{{"text": "document {row} of file {number}"}}\n' for row in range(40)).encode()
        )
        for number in range(5)
    }
    outcome = build(tmp_path, hub.url, TEXT.model_copy(update={"max_documents": 50}), "corpus")
    assert outcome.done.returncode == 0, outcome.done.stderr
    assert len([name for name in hub.downloads if name.endswith(".gz")]) == 2
    assert read_json(outcome.manifest)["documents"] == 50
