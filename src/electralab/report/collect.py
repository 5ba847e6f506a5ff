"""Run records to tidy files: `runs.csv` (a row a run), `curves.csv` (an evaluation), `comparisons.csv` (two models),
`confusions.csv` (a cell of a confusion matrix)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from electralab.errors import UserError
from electralab.files import atomic_write, read_json
from electralab.names import NO_MODEL, parse_model
from electralab.records import RunRecord, read_record
from electralab.report.comparisons import COMPARISON_COLUMNS, compare, read_answers

# What a run was told, as far as a table says it. The complete experiment is in `config.resolved.yaml`.
SPEC_COLUMNS = (
    "kind",
    "corpus",
    "tokenizer",
    "layers",
    "hidden_size",
    "steps",
    "batch_size",
    "sequence_length",
    "learning_rate",
    "learning_rates",
    "epochs",
    "max_length",
    "max_train_rows",
    "keep_probability",
    "initialization",
    "unigram_warmup",
    "head",
    "pooling",
    "mnli_validation",
    "schedule",
    "warmup_fraction",
    "weight_decay",
    "adam_bias_correction",
    "adam_epsilon",
    "dropout",
    "layerwise_lr_decay",
    "layerwise_lr_decay_rule",
    "double_unordered",
    "regression_target",
    # Of adapters, and of decoders that answer from a prompt.
    "rank",
    "alpha",
    "targets",
    "storage",
    "double_quantization",
    "initial_rank",
    "target_rank",
    "virtual_tokens",
    "block_size",
    "adapter_dropout",
    "rank_dropout",
    "module_dropout",
    "start_fraction",
    "final_fraction",
    "every_steps",
    "gradient_checkpointing",
    "merge_for_inference",
    "shots",
    "answers",
)
NOTE_SEPARATOR = " | "  # sentences have semicolons of their own
IDENTITY = ("stage", "model", "task", "method", "seed")
RUN_COLUMNS = (
    "preset",
    *IDENTITY,
    "pretraining",
    "generator_size",
    "snapshot",
    "random_init",
    "downloaded",
    "glue",
    "primary_metric",
    "status",
    "reason",
    "recipe",
    "extensions",
    "synthetic",
    *SPEC_COLUMNS,
)
CURVE_IDENTITY = ("model", "pretraining", "generator_size", "seed", "extensions")
CURVE_COLUMNS = ("step", "tokens", "seconds", "phase")
# A row a trial; then a `param.<option>` for every searched option and an `importance.<option>`, the same in every row.
SEARCH_COLUMNS = ("search", "trial", "status", "score", "seconds", "seed")
# Validation rows of class number `true`, which is called `label`, that were answered with class number `predicted`.
CONFUSION_COLUMNS = ("task", "model", "method", "seed", "true", "label", "predicted", "rows")


def write_searches(rows: list[dict[str, Any]], path: Path) -> None:
    """Write `searches.csv`, a row a trial; only its header where the experiment has no search."""
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(SEARCH_COLUMNS))
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def write_confusions(records: list[Path], tasks: list[Path], path: Path) -> None:
    """Write `confusions.csv`, a row a cell of every finished run's confusion matrix; only its header without a run.

    Args:
        records: run records of classifications.
        tasks: the manifests of their tasks, which name the classes.
        path: the file.

    Raises:
        UserError: a record, its `predictions.csv` or a manifest is missing or damaged, or a run is of no task given.
    """
    classes = {task["name"]: task["labels"] for task in map(read_json, tasks)}
    rows = []
    for source in dict.fromkeys(records):
        record = read_record(source)
        if record.status != "ok":
            continue
        if record.task not in classes:
            raise UserError(f"{source} is of task {record.task}, the manifest of which is not given")
        names = classes[record.task]
        answers = read_answers(source.with_name(str(record.predictions)))
        largest = int(max(answers.labels.max(), answers.predictions.max()))
        if largest >= len(names):
            raise UserError(
                f"{source}: its predictions hold class number {largest}, and task {record.task} has "
                f"{len(names)} classes: delete the record and rerun"
            )
        cells = answers.labels.astype(np.int64) * len(names) + answers.predictions.astype(np.int64)
        counts = np.bincount(cells, minlength=len(names) ** 2).reshape(len(names), len(names))
        rows += [
            (record.task, record.model, record.method, record.seed, true, names[true], predicted, count)
            for (true, predicted), count in np.ndenumerate(counts)
        ]
    frame = pd.DataFrame(rows, columns=list(CONFUSION_COLUMNS))
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def collect(records: list[Path], runs_csv: Path, curves_csv: Path, comparisons_csv: Path, preset: str) -> None:
    """Flatten run records into `runs.csv`, their pretraining evaluations into `curves.csv`, and compare predictions.

    Failed and skipped runs are rows too. Lists are joined with `;` and notes with ` | `. Numbers keep full precision.
    `comparisons.csv` holds the paired bootstrap of every two models on the same task and method.

    Raises:
        UserError: a record, an `evaluation.csv` or a `predictions.csv` is missing or damaged, or a run is given twice.
    """
    rows: dict[tuple[object, ...], dict[str, Any]] = {}
    curves: list[pd.DataFrame] = []
    read = {path: read_record(path) for path in dict.fromkeys(records)}
    for path in records:
        record = read[path]
        row = {"preset": preset} | _flatten(record)
        identity = tuple(row[name] for name in IDENTITY)
        if identity in rows:
            raise UserError(f"{path} and {rows[identity]['record']} are records of the same run: give only one of them")
        rows[identity] = row | {"record": str(path)}
        if record.stage == "pretrain" and (record.status == "ok" or _evaluation(path).exists()):
            curves.append(_curve(_evaluation(path), row))
    _write(pd.DataFrame(list(rows.values())), RUN_COLUMNS, runs_csv)
    _write(pd.concat(curves) if curves else pd.DataFrame(), (*CURVE_IDENTITY, *CURVE_COLUMNS), curves_csv)
    _write(compare(read), COMPARISON_COLUMNS, comparisons_csv)


def _evaluation(record: Path) -> Path:
    return record.parent / "evaluation.csv"


def _flatten(record: RunRecord) -> dict[str, Any]:
    settings = record.spec.get("settings", {})
    random_init = record.spec.get("random_init")
    shape = random_init["shape"] if random_init else settings.get("discriminator", {})
    settings = settings | (random_init or {}) | shape
    downloaded = record.spec.get("downloaded")
    pretrained = record.model != NO_MODEL and not random_init and not downloaded
    row: dict[str, Any] = {name: getattr(record, name) for name in IDENTITY}
    if record.stage == "run":
        row["stage"] = "baseline" if record.model == NO_MODEL else "finetune"
    row |= {
        "pretraining": record.model.rpartition("-g")[0] if pretrained else None,
        "generator_size": _generator_size(record) if pretrained else None,
        "snapshot": record.spec.get("snapshot"),
        "random_init": bool(random_init),
        "downloaded": _origin(downloaded) if downloaded else None,
        "glue": record.glue,
        "primary_metric": record.primary_metric,
        "status": record.status,
        "reason": record.reason,
        "recipe": record.recipe,
        "extensions": _cell(record.extensions),
        "synthetic": record.synthetic,
    }
    row |= {name: _cell(settings.get(name)) for name in SPEC_COLUMNS}
    row |= {f"metric.{name}": value for name, value in record.metrics.items()}
    cost = record.cost.model_dump()
    for group in ("flops", "parameters"):
        row |= {f"{group}.{name}": value for name, value in cost.pop(group).items()}
    row |= {f"cost.{name}": value for name, value in cost.items()}
    provenance = record.provenance.model_dump()
    for group in ("versions", "data"):
        row |= {f"provenance.{group}.{name}": value for name, value in provenance.pop(group).items()}
    row |= {f"provenance.{name}": value for name, value in provenance.items()}
    return row | {"predictions": record.predictions, "notes": NOTE_SEPARATOR.join(record.notes)}


def _origin(downloaded: dict[str, Any]) -> str:
    """Where a downloaded model comes from: hub id, PyPI package or folder."""
    return str(downloaded.get("repository") or downloaded.get("package") or downloaded.get("path"))


def _generator_size(record: RunRecord) -> float | None:
    """A pretraining says its size; a fine-tuned model is named after it (`electralab.config.model_name`)."""
    if "generator_size" in record.spec:
        return float(record.spec["generator_size"])
    return parse_model(record.model).size / 100


def _cell(value: Any) -> Any:
    return ";".join(map(str, value)) if isinstance(value, list) else value


def _curve(path: Path, row: dict[str, Any]) -> pd.DataFrame:
    try:
        curve = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing beside its run record: delete the record and rerun") from None
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): delete it and rerun") from None
    missing = [name for name in CURVE_COLUMNS if name not in curve.columns]
    if missing:
        raise UserError(f"{path} is damaged (no column {', '.join(missing)}): delete it and rerun")
    if curve[list(CURVE_COLUMNS)].isna().any(axis=None):
        raise UserError(f"{path} is damaged (a row is cut short): delete it and rerun")
    for position, name in enumerate(CURVE_IDENTITY):
        curve.insert(position, name, row[name])
    return curve


def _write(frame: pd.DataFrame, first: tuple[str, ...], path: Path) -> None:
    rest = sorted(name for name in frame.columns if name not in first)
    with atomic_write(path) as temporary:
        frame.reindex(columns=[*first, *rest]).convert_dtypes().to_csv(temporary, index=False, lineterminator="\n")
