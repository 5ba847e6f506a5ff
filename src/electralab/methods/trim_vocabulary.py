"""A vocabulary without the word pieces that a task's training rows do not use: embeddings and tokenizer, remapped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from electralab.artifacts import Left, copy_beside, read_manifest
from electralab.config import TrimVocabulary
from electralab.data.example import Example
from electralab.data.models import DECODERS
from electralab.errors import Unsuitable, UserError
from electralab.files import read_json, staged_folder, write_json, write_text
from electralab.methods.job import Job, Outcome
from electralab.methods.opening import derived
from electralab.model_files import CONFIG, TOKENIZER, TOKENIZER_CONFIG, VOCABULARY, WEIGHTS
from electralab.tokens.tokenizer import TextEncoder, load_tokenizer

WORD_EMBEDDINGS = ".embeddings.word_embeddings.weight"
ADDED = "added_tokens_decoder"  # of `tokenizer_config.json`, by id
TOKEN_ID = "_token_id"  # what `config.json` calls the ids of tokens ends with it


class Vocabulary(NamedTuple):
    """Word pieces and added tokens of a model by their id, and those that always stay."""

    tokens: dict[int, str]
    always: set[int]


def run(job: Job) -> Outcome:
    """Keep the rows of the pieces that training rows use, and answer with what was written.

    Raises:
        Unsuitable: the model is a decoder, its tokenizer is not WordPiece, or there are no training rows.
        UserError: the vocabulary is not the model's.
    """
    settings = job.spec.settings
    assert isinstance(settings, TrimVocabulary) and job.start is not None
    torch.set_num_threads(job.threads)
    source, manifest = job.start.parent, read_manifest(job.start)
    config = read_json(source / CONFIG)
    if config.get("model_type") in DECODERS:
        raise Unsuitable(f"{job.spec.title}: {config['model_type']} is a decoder, whose pieces are also its answers")
    if not job.data.train:
        raise Unsuitable(f"{job.spec.title}: the task has no training rows that could say which pieces it uses")
    weights = load_file(source / WEIGHTS)
    name = next(name for name in weights if name.endswith(WORD_EMBEDDINGS))
    vocabulary = read_vocabulary(source, len(weights[name]), job.spec.title)
    before = load_tokenizer(source / TOKENIZER)
    used = np.bincount(_flat(before.encode(_texts(job.data.train))), minlength=len(weights[name]))
    kept = sorted(id_ for id_ in vocabulary.tokens if id_ in vocabulary.always or used[id_] >= settings.min_count)
    new_ids = {old: new for new, old in enumerate(kept)}
    with staged_folder(job.artifact) as staging:
        copy_beside(source, staging, WEIGHTS)
        weights[name] = weights[name][torch.tensor(kept)].clone()
        save_file(weights, staging / WEIGHTS, metadata={"format": "pt"})
        ids = {key: new_ids[value] for key, value in token_ids(config).items()}
        write_json(staging / CONFIG, config | {"vocab_size": len(kept)} | ids)
        tokenizer = renumbered_tokenizer(read_json(source / TOKENIZER), new_ids)
        write_text(staging / TOKENIZER, json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")))
        if (source / VOCABULARY).exists():
            lines = "".join(f"{vocabulary.tokens[old]}\n" for old in kept)
            (staging / VOCABULARY).write_text(lines, encoding="utf-8", newline="")
        _renumber_decoder(staging / TOKENIZER_CONFIG, new_ids)
    after = load_tokenizer(job.artifact / TOKENIZER)
    metrics = {"vocabulary_before": float(len(vocabulary.tokens)), "vocabulary_kept": float(len(kept))}
    metrics |= compared(before, after, kept, job.data.validation)
    outcome = derived(job, Left(form="huggingface", reads=manifest.reads), [_note(metrics)])
    outcome.metrics.update(metrics)
    return outcome


def read_vocabulary(folder: Path, rows: int, title: str) -> Vocabulary:
    """The vocabulary of a model folder, whose files agree with each other and with the embeddings.

    Args:
        folder: with `tokenizer.json` and `config.json`, and `vocab.txt` where there is one.
        rows: of the word embeddings.
        title: of the run, for errors.

    Raises:
        Unsuitable: the tokenizer is not WordPiece.
        UserError: an id has no embedding, or two files give an id to different pieces.
    """
    told = read_json(folder / TOKENIZER)
    kind = told["model"].get("type")
    if kind != "WordPiece":
        raise Unsuitable(f"{title}: the tokenizer is {kind}, and only a vocabulary of WordPiece can be trimmed")
    tokens = {id_: piece for piece, id_ in told["model"]["vocab"].items()}
    if (folder / VOCABULARY).exists():
        _check_lines(folder / VOCABULARY, tokens)
    for token in told.get("added_tokens", []):
        if tokens.setdefault(token["id"], token["content"]) != token["content"]:
            raise UserError(
                f"{folder / TOKENIZER}: id {token['id']} is {tokens[token['id']]!r} and {token['content']!r}: "
                "use the tokenizer that the model was trained with"
            )
    config_ids = set(token_ids(read_json(folder / CONFIG)).values())
    config_ids |= {int(id_) for id_ in read_json(folder / TOKENIZER_CONFIG).get(ADDED, {})}
    unknown = sorted(id_ for id_ in tokens.keys() | config_ids if id_ >= rows or id_ not in tokens)
    if unknown:
        raise UserError(
            f"{folder}: the vocabulary has {len(tokens)} pieces, the model embeds {rows}, and id {unknown[0]} is not "
            "in both: use the tokenizer that the model was trained with"
        )
    prefix = told["model"]["continuing_subword_prefix"]
    always = {id_ for id_, piece in tokens.items() if len(piece.removeprefix(prefix)) == 1}
    special = set(load_tokenizer(folder / TOKENIZER).special_ids)
    added = {token["id"] for token in told.get("added_tokens", [])}
    return Vocabulary(tokens, always | special | added | config_ids | _ids_in(told.get("post_processor")))


def token_ids(config: dict[str, Any]) -> dict[str, int]:
    """The ids of tokens that a `config.json` names."""
    return {key: value for key, value in config.items() if key.endswith(TOKEN_ID) and isinstance(value, int)}


def renumbered_tokenizer(told: dict[str, Any], new_ids: dict[int, int]) -> dict[str, Any]:
    """A `tokenizer.json` of the pieces in `new_ids` (old id to new) alone; everything else as it was."""
    vocabulary = {piece: new_ids[old] for piece, old in told["model"]["vocab"].items() if old in new_ids}
    renumbered = {
        **told,
        "model": {**told["model"], "vocab": vocabulary},
        "added_tokens": [{**token, "id": new_ids[token["id"]]} for token in told.get("added_tokens", [])],
        "post_processor": _with_ids(told.get("post_processor"), new_ids.__getitem__),
    }
    if told.get("padding"):
        renumbered["padding"] = {**told["padding"], "pad_id": new_ids[told["padding"]["pad_id"]]}
    return renumbered


def compared(before: TextEncoder, after: TextEncoder, kept: list[int], rows: Sequence[Example]) -> dict[str, float]:
    """How otherwise rows are tokenized: share of the rows, tokens a token, shares of unknown tokens."""
    texts = [[example.text, *([] if example.pair is None else [example.pair])] for example in rows]
    old = [before.encode(row) for row in texts]
    new = [[[kept[id_] for id_ in text] for text in after.encode(row)] for row in texts]
    old_ids, new_ids = (_flat([ids for row in side for ids in row]) for side in (old, new))
    return {
        "rows_tokenized_otherwise": float(np.mean([one != other for one, other in zip(old, new)])),
        "tokens_ratio": len(new_ids) / max(len(old_ids), 1),
        "unk_rate": float((new_ids == before.unk_id).mean()),
        "unk_rate_before": float((old_ids == before.unk_id).mean()),
    }


def _note(metrics: dict[str, float]) -> str:
    return (
        f"Trimming the vocabulary to {metrics['vocabulary_kept']:,.0f} of {metrics['vocabulary_before']:,.0f} pieces "
        f"is not lossless: {metrics['rows_tokenized_otherwise']:.1%} of the validation rows are tokenized otherwise, "
        f"into {metrics['tokens_ratio'] - 1:+.1%} tokens; [UNK] {metrics['unk_rate_before']:.2%} before, "
        f"{metrics['unk_rate']:.2%} after."
    )


def _check_lines(file: Path, tokens: dict[int, str]) -> None:
    """See that a `vocab.txt` gives every piece the id that `tokenizer.json` gives it."""
    lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    for id_, piece in tokens.items():
        line = lines[id_] if id_ < len(lines) else None
        if line != piece:
            raise UserError(
                f"{file}: line {id_ + 1} is {line!r}, and {TOKENIZER} beside it calls id {id_} {piece!r}: use the "
                "vocabulary that the model was trained with"
            )


def _renumber_decoder(file: Path, new_ids: dict[int, int]) -> None:
    """Renumber the added tokens of a `tokenizer_config.json`, whose keys are ids."""
    told = read_json(file)
    if ADDED in told:
        added = told[ADDED].items()
        told[ADDED] = {str(new_ids[int(old)]): token for old, token in added}
        write_json(file, told)


def _with_ids(part: Any, change: Callable[[int], int]) -> Any:
    """A post-processor with other ids: `ids` of a template, `["[SEP]", 102]` of BERT's, any of them in a sequence."""
    if isinstance(part, list):
        pair = len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], int)
        return [part[0], change(part[1])] if pair else [_with_ids(item, change) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: [change(id_) for id_ in value] if key == "ids" else _with_ids(value, change) for key, value in part.items()
    }


def _ids_in(part: Any) -> set[int]:
    """The ids in a post-processor."""
    found: set[int] = set()

    def see(id_: int) -> int:
        found.add(id_)
        return id_

    _with_ids(part, see)
    return found


def _texts(rows: Sequence[Example]) -> list[str]:
    return [text for row in rows for text in (row.text, row.pair) if text]


def _flat(ids: Sequence[Sequence[int]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.concatenate([np.asarray(row, np.int64) for row in ids] or [np.zeros(0, np.int64)])
