"""A trimmed vocabulary: what is kept, how texts are read then, and what software that knows nothing of it answers."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest
import torch
from chains import ONNX_ANSWERS, asked, predictions, run_chain
from finetune_task import SPECIAL, WORDS, reworded, write_task
from method_models import ENCODERS
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from word_models import LETTERS, PIECES, RARE, fetched_words, write_pieces, write_word_model

from electralab.config import FullFinetuning, LocalModel, TrimVocabulary
from electralab.config.methods.chains import check_chain
from electralab.data.models import fetch_model
from electralab.errors import UserError
from electralab.methods.trim_vocabulary import read_vocabulary
from electralab.names import artifact_in
from electralab.records import RunRecord

FULL = {
    **{"kind": "full", "layerwise_lr_decay": 1.0, "learning_rates": [1e-3]},
    **{"epochs": 2, "batch_size": 16, "max_length": 32},
}
TRIM, INT8 = {"kind": "trim_vocabulary"}, {"kind": "dynamic_int8"}
UNUSED = {WORDS[0], *RARE}  # no training row has them

# `transformers` alone, in another process: how both models read every text and what they answer.
READINGS = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
folder, texts = json.load(sys.stdin)
found = []
for chain in ("full", "full+trim"):
    path = f"{folder}/{chain}/model"
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForSequenceClassification.from_pretrained(path)
    read = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(**read).logits
    tokens = [tokenizer.convert_ids_to_tokens(row) for row in read["input_ids"]]
    answers = pipeline("text-classification", path)(texts, truncation=True)
    found.append({"tokens": tokens, "logits": logits.tolist(), "answers": answers})
print(json.dumps(found))
"""


class Trimmed(NamedTuple):
    kind: str
    folder: Path  # of the chain's runs
    records: dict[str, RunRecord]

    def file(self, name: str, chain: str = "full+trim") -> Path:
        return self.folder / chain / "model" / name


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trimmed")


@pytest.fixture(scope="module")
def task(root: Path) -> Path:
    return write_task(root / "words")


@pytest.fixture(scope="module", params=ENCODERS)
def trimmed(request: pytest.FixtureRequest, root: Path, task: Path) -> Trimmed:
    """A model of every architecture, fine-tuned, trimmed and then in int8."""
    folder = root / f"{request.param}_runs"
    model = fetched_words(root, request.param)
    records = run_chain(folder, task, model, full=FULL, trim=TRIM, int8=INT8)
    return Trimmed(request.param, folder, records)


def trimmed_after(full: Trimmed, task: Path, folder: Path, **settings: object) -> RunRecord:
    """The record of another trimming of a model that is fine-tuned already."""
    shutil.copytree(full.folder / "full", folder / "full", dirs_exist_ok=True)
    model = full.folder.with_name(f"{full.kind}_model") / "manifest.json"
    return run_chain(folder, task, model, done=("full",), full=FULL, trim=TRIM | settings)["full+trim"]


def vocabulary(folder: Path) -> dict[str, int]:
    return Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab(with_added_tokens=True)


def texts_of(task: Path, split: str) -> list[str]:
    rows = [json.loads(line) for line in task.with_name(f"{split}.jsonl").open()]
    return [text for row in rows for text in (row["text"], row["pair"]) if text is not None]


def test_kept_pieces_have_the_rows_that_they_had(trimmed: Trimmed) -> None:
    before, after = (vocabulary(trimmed.file("", chain)) for chain in ("full", "full+trim"))
    assert set(before) - set(after) == UNUSED
    assert sorted(after.values()) == list(range(len(PIECES) - len(UNUSED)))
    assert {*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)} <= set(after)
    old, new = (load_file(trimmed.file("model.safetensors", chain)) for chain in ("full", "full+trim"))
    (words,) = (name for name in old if name.endswith("word_embeddings.weight"))
    assert new[words].shape == (len(after), 64)
    assert all(torch.equal(new[words][id_], old[words][before[piece]]) for piece, id_ in after.items())
    assert set(old) == set(new)
    assert all(torch.equal(old[name], new[name]) for name in set(old) - {words})


def test_every_file_gives_the_same_ids(trimmed: Trimmed) -> None:
    ids = vocabulary(trimmed.file(""))
    assert trimmed.file("vocab.txt").read_text().splitlines() == sorted(ids, key=ids.__getitem__)
    config = json.loads(trimmed.file("config.json").read_text())
    assert (config["vocab_size"], config["pad_token_id"]) == (len(ids), ids["[PAD]"])
    added = json.loads(trimmed.file("tokenizer_config.json").read_text())["added_tokens_decoder"]
    assert {token["content"]: int(id_) for id_, token in added.items()} == {piece: ids[piece] for piece in SPECIAL}
    metrics = trimmed.records["full+trim"].metrics
    assert (metrics["vocabulary_before"], metrics["vocabulary_kept"]) == (len(PIECES), len(ids))


def test_transformers_reads_words_of_training_rows_as_before(trimmed: Trimmed, task: Path, root: Path) -> None:
    full, trim = asked(READINGS, trimmed.folder.resolve(), task, root)
    assert trim["tokens"] == full["tokens"]
    assert trim["logits"] == full["logits"]
    for chain, answers in (("full", full["answers"]), ("full+trim", trim["answers"])):
        rows = predictions(trimmed.folder / chain)
        assert [row["prediction"] for row in rows] == [answer["label"] for answer in answers]
        scores = [float(row[f"score_{row['prediction']}"]) for row in rows]
        assert [answer["score"] for answer in answers] == pytest.approx(scores, abs=2e-5)
    metrics = trimmed.records["full+trim"].metrics
    assert metrics["agreement_with_previous"] == 1
    assert (metrics["rows_tokenized_otherwise"], metrics["tokens_ratio"]) == (0, 1)


@pytest.mark.parametrize("pair", [False, True])
def test_pieces_are_counted_in_all_texts_of_training_rows(pair: bool, root: Path, tmp_path: Path) -> None:
    task = write_task(tmp_path / "rows", pair=pair)
    model = fetched_words(tmp_path, "electra")
    counter = Tokenizer.from_file(str(model.with_name("tokenizer.json")))
    counts = Counter(
        piece for text in texts_of(task, "train") for piece in counter.encode(text, add_special_tokens=False).tokens
    )
    threshold = sorted(counts[word] for word in WORDS)[10]
    folder = tmp_path / "runs"
    settings = TRIM | {"min_count": threshold}
    record = run_chain(folder, task, model, full=FULL | {"epochs": 1}, trim=settings)["full+trim"]
    always = {*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)}
    enough = {piece for piece, count in counts.items() if count >= threshold}
    assert 10 < len(enough) < 25
    assert set(vocabulary(folder / "full+trim" / "model")) == always | enough
    assert record.metrics["rows_tokenized_otherwise"] > 0.5


def test_what_rows_with_other_words_become_is_counted(trimmed: Trimmed, task: Path, tmp_path: Path) -> None:
    shutil.copytree(task.parent, tmp_path / "task")
    other = reworded(
        tmp_path / "task",
        "validation",
        # Whole before, letters after; unknown after; unknown before and after.
        lambda text: text.replace("w3 ", "zebra ").replace("w5 ", "\u03c9mega ").replace("w7 ", "\u6f22 "),
    )
    record = trimmed_after(trimmed, other, tmp_path / "runs")
    read = []
    for chain in ("full", "full+trim"):
        tokenizer = Tokenizer.from_file(str(tmp_path / "runs" / chain / "model" / "tokenizer.json"))
        texts = texts_of(other, "validation")
        read.append([tokenizer.encode(text, add_special_tokens=False).tokens for text in texts])
    counts = [Counter(token for row in side for token in row) for side in read]
    old, new = (sum(count.values()) for count in counts)
    assert counts[1]["[UNK]"] > counts[0]["[UNK]"] > 0 and new > old
    assert record.metrics["rows_tokenized_otherwise"] == sum(a != b for a, b in zip(*read, strict=True)) / 200
    assert record.metrics["tokens_ratio"] == new / old
    assert record.metrics["unk_rate_before"] == pytest.approx(counts[0]["[UNK]"] / old)
    assert record.metrics["unk_rate"] == pytest.approx(counts[1]["[UNK]"] / new)
    assert "is not lossless" in record.notes[-1]


def test_a_trimmed_model_goes_on_into_int8(trimmed: Trimmed, task: Path, root: Path) -> None:
    """The graph embeds the pieces that are left, and ONNX Runtime alone gives the recorded answers."""
    assert trimmed.records["full+trim+int8"].status == "ok"
    with trimmed.file("layers.csv", "full+trim+int8").open(newline="") as file:
        (embedded,) = (row for row in csv.DictReader(file) if row["name"] == "encoder.embeddings.word")
    assert int(embedded["weights"]) == (len(PIECES) - len(UNUSED)) * 64
    graph = onnx.load(trimmed.file("model.onnx", "full+trim+int8")).graph
    assert len(PIECES) - len(UNUSED) in {tensor.dims[0] for tensor in graph.initializer if len(tensor.dims) == 2}
    assert not {len(PIECES)} & {size for tensor in graph.initializer for size in tensor.dims}
    folder = trimmed.folder / "full+trim+int8"
    answers, rows = asked(ONNX_ANSWERS, (folder / "model").resolve(), task, root), predictions(folder)
    assert [answer["label"] for answer in answers] == [row["prediction"] for row in rows]
    scores = [float(row[f"score_{row['prediction']}"]) for row in rows]
    assert [answer["score"] for answer in answers] == pytest.approx(scores, abs=0.02)


def refused(record: RunRecord, folder: Path, reason: str) -> None:
    """A skipped run of one line that left a manifest and nothing to open."""
    assert record.status == "skipped"
    assert reason in str(record.reason) and "\n" not in str(record.reason)
    assert [path.name for path in (folder / "full+trim" / "model").iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("kind", ["opt", "llama"])
def test_a_decoder_keeps_its_vocabulary(kind: str, task: Path, tmp_path: Path) -> None:
    model = fetched_words(tmp_path, kind)
    full = FULL | {"max_length": 64, "epochs": 1, "max_train_rows": 16}
    record = run_chain(tmp_path / "runs", task, model, full=full, trim=TRIM)["full+trim"]
    refused(record, tmp_path / "runs", f"{kind} is a decoder, whose pieces are also its answers")


def test_without_training_rows_there_is_nothing_to_go_by(trimmed: Trimmed, task: Path, tmp_path: Path) -> None:
    shutil.copytree(task.parent, tmp_path / "task")
    empty = reworded(tmp_path / "task", "train", lambda _: None)
    record = trimmed_after(trimmed, empty, tmp_path / "runs")
    refused(record, tmp_path / "runs", "the task has no training rows that could say which pieces it uses")


def test_a_tokenizer_of_whole_words_is_skipped(task: Path, tmp_path: Path) -> None:
    source = write_word_model(tmp_path / "words", "electra")
    whole = Tokenizer(models.WordLevel({piece: id_ for id_, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    whole.pre_tokenizer = pre_tokenizers.Whitespace()
    whole.add_special_tokens(SPECIAL)
    whole.save(str(source / "tokenizer.json"))
    (source / "vocab.txt").unlink()
    model = tmp_path / "model" / "manifest.json"
    fetch_model("toy", LocalModel(path=str(source)), model, tmp_path / "downloads")
    records = run_chain(tmp_path / "runs", task, model, full=FULL | {"epochs": 1}, trim=TRIM)
    assert records["full"].status == "ok"
    reason = "the tokenizer is WordLevel, and only a vocabulary of WordPiece can be trimmed"
    refused(records["full+trim"], tmp_path / "runs", reason)


def test_a_vocabulary_of_another_model_is_refused(task: Path, tmp_path: Path) -> None:
    source = write_word_model(tmp_path / "words", "bert")
    lines = (source / "vocab.txt").read_text().splitlines()
    lines[3], lines[9] = lines[9], lines[3]
    (source / "vocab.txt").write_text("\n".join(lines) + "\n")
    model = tmp_path / "model" / "manifest.json"
    fetch_model("toy", LocalModel(path=str(source)), model, tmp_path / "downloads")
    runs = tmp_path / "runs"
    run_chain(runs, task, model, full=FULL | {"epochs": 1})
    with pytest.raises(UserError, match=r"vocab\.txt: line 4 is .* calls id 3 .*: use the vocabulary that") as error:
        run_chain(runs, task, model, done=("full",), full=FULL, trim=TRIM)
    assert "\n" not in str(error.value)
    assert not Path(artifact_in(str(runs / "full+trim"))).parent.exists()


@pytest.mark.parametrize(("rows", "pad"), [(len(PIECES) - 1, 6), (len(PIECES) + 3, len(PIECES) + 1), (200, -1)])
def test_an_id_without_piece_or_embedding_is_refused(rows: int, pad: int, tmp_path: Path) -> None:
    write_pieces(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"pad_token_id": pad}))
    with pytest.raises(UserError, match=rf"has {len(PIECES)} pieces, the model embeds {rows}, and id ") as error:
        read_vocabulary(tmp_path, rows, "a test")
    assert "\n" not in str(error.value)


def test_a_word_that_only_one_file_adds_stays(tmp_path: Path) -> None:
    """`transformers` writes a token that was added into `tokenizer_config.json` alone where it stood in `vocab.txt`."""
    told = json.loads((write_pieces(tmp_path) / "tokenizer_config.json").read_text())
    told["added_tokens_decoder"] |= {str(PIECES.index("zebra")): {"content": "zebra", "special": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(told))
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps({k: v for k, v in tokenizer.items() if k != "post_processor"}))
    (tmp_path / "config.json").write_text("{}")
    always = read_vocabulary(tmp_path, len(PIECES), "a test").always
    assert PIECES.index("zebra") in always and PIECES.index("zeb") not in always


def test_trimming_twice_is_refused_before_anything_runs() -> None:
    links = [FullFinetuning(learning_rates=[1e-3]), TrimVocabulary(), TrimVocabulary(min_count=2)]
    told = check_chain(links, ["full", "trim", "again"])
    assert told == "again does not fit after trim: the vocabulary is trimmed already: leave again out"
    assert check_chain(links[:2], ["full", "trim"]) is None
