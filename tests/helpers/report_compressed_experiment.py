"""A constructed experiment of chains that make a model smaller, with the files that their artifacts list."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from report_experiment import MINILM, Builder

from electralab.config import DynamicInt8, Half, Lora, Merge, Nf4, StaticInt8, TrimVocabulary, WeightOnlyInt4

EMBEDDINGS = 11_720_448  # weights of MiniLM's word table
DENSE = 10_646_784  # of its dense layers, over 36 of them here
HEAD = 148_226


def stored_layers(bits: int, embedding_bits: int, wobble: float = 0.0) -> list[tuple[Any, ...]]:
    """Three layers in the order of a network; the second dense one is the worst."""
    dense, table = DENSE // 2, EMBEDDINGS * embedding_bits // 8
    of_table = 0.008 + wobble if embedding_bits < 16 else 0.0
    return [
        ("encoder.embeddings.word", "embeddings", embedding_bits, EMBEDDINGS, table, of_table),
        ("encoder.layers.0.qkv", "linear", bits, dense, dense * bits // 8, 0.01 + wobble),
        ("encoder.layers.0.output", "linear", bits, dense, dense * bits // 8, 0.02 + wobble),
        ("head.0", "head", 32, HEAD, HEAD * 4, 0.0),
    ]


def write_artifact(record: Path, layers: list[tuple[Any, ...]]) -> Path:
    """`layers.csv` and a manifest that vouches for it."""
    folder = record.parent / "model"
    folder.mkdir()
    path = folder / "layers.csv"
    lines = ["name,part,bits,weights,bytes,rounding_error", *(",".join(map(str, layer)) for layer in layers)]
    path.write_text("\n".join(lines) + "\n")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({"files": {"layers.csv": checksum, "model.onnx": "0" * 64}}))
    return path


def sizes(embeddings: float, linear: float, head: float = 0.6e6, other: float = 0.2e6) -> dict[str, Any]:
    """Metrics and cost of files of this many bytes by part."""
    parts = {"embeddings": embeddings, "linear": linear, "head": head, "other": other}
    metrics = {f"bytes.{part}": float(size) for part, size in parts.items()} | {"bytes.tokenizer": 711_649.0}
    return metrics | {"known_cost": {"bytes_on_disk": int(sum(parts.values()))}}


FP32 = sizes(4 * EMBEDDINGS, 4 * DENSE)


def compressed_study(builder: Builder, seeds: tuple[int, ...] = (0, 1, 2), **known: Any) -> list[Path]:
    """MiniLM on one task: `full` and `lora+merge`, five chains after them; the `layers.csv` of those in few bits."""
    found = []
    for seed in seeds:
        wobble = (0.0, 0.01, -0.008)[seed]
        told = {"hub": MINILM} | known

        def run(method: str, score: float, settings: Any, **more: Any) -> Path:
            return builder.finetune(
                *("minilm", "movie_sentiment", seed, score + wobble),  # noqa: B023
                method=method,
                settings=settings,
                recipe=getattr(settings, "recipe", settings.kind if settings else "paper"),
                **(told | more),  # noqa: B023
            )

        def small(method: str, score: float, settings: Any, layers: list[tuple[Any, ...]], **more: Any) -> None:
            few = float(sum(layer[2] < 16 for layer in layers))
            metrics = {"expected_layers": few, "quantized_layers": few, "agreement_with_previous": 0.98}
            path = run(method, score, settings, **(metrics | {"logit_error": 0.07} | more))
            found.append(write_artifact(path, layers))

        run("full", 0.82, None, **FP32)
        run("full+half", 0.82, Half(), agreement_with_previous=0.999, **sizes(2 * EMBEDDINGS, 2 * DENSE))
        int8 = sizes(EMBEDDINGS, DENSE)
        small("full+int8", 0.818, DynamicInt8(), stored_layers(8, 8, 0.001 * seed), **int8)
        dense = sizes(4 * EMBEDDINGS, DENSE)
        small("full+static", 0.70, StaticInt8(scope="linear"), stored_layers(8, 32), calibration_rows=64.0, **dense)
        small("full+half+int4", 0.80, WeightOnlyInt4(), stored_layers(4, 4), **sizes(EMBEDDINGS / 2, DENSE / 2))
        run("lora", 0.81, Lora(), known_cost={"bytes_on_disk": 1_000_000})
        run("lora+merge", 0.81, Merge(), agreement_with_previous=1.0, **FP32)
        small("lora+merge+int8", 0.809, DynamicInt8(), stored_layers(8, 8), **int8)
    return found


def trimmed_study(builder: Builder, seeds: tuple[int, ...] = (0, 1)) -> None:
    """MiniLM on one task as real runs say it: trimmed, then in 8 bits; in nf4; and computed in bf16."""
    kept = 14_935 / 30_522
    trimmed = {
        **{"vocabulary_before": 30_522.0, "vocabulary_kept": 14_935.0, "rows_tokenized_otherwise": 0.325},
        **{"tokens_ratio": 1.023, "unk_rate": 0.0, "unk_rate_before": 0.0, "agreement_with_previous": 0.986},
    }
    few = {"expected_layers": 2.0, "quantized_layers": 2.0, "logit_error": 0.101, "agreement_with_previous": 0.979}
    for seed in seeds:

        def run(method: str, score: float, settings: Any, **more: Any) -> Path:
            return builder.finetune(
                *("minilm", "movie_sentiment", seed, score + 0.01 * seed),  # noqa: B023
                **{"method": method, "settings": settings, "hub": MINILM} | more,
            )

        run("full", 0.813, None, **FP32)
        run("full+bf16", 0.813, Half(storage="bf16", compute="bf16"), **sizes(2 * EMBEDDINGS, 2 * DENSE))
        run("full+trim", 0.813, TrimVocabulary(), **trimmed, **sizes(4 * EMBEDDINGS * kept, 4 * DENSE))
        path = run("full+trim+int8", 0.805, DynamicInt8(), **few, **sizes(EMBEDDINGS * kept, DENSE))
        write_artifact(path, stored_layers(8, 8))
        path = run("full+nf4", 0.814, Nf4(), **few, **sizes(4 * EMBEDDINGS, DENSE / 2))
        write_artifact(path, stored_layers(4, 32))
