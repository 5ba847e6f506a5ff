"""A run record as one row of `runs.csv`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from electralab.names import NO_MODEL, parse_model, pretraining_name
from electralab.records import RunRecord

NOTE_SEPARATOR = " | "  # sentences have semicolons of their own
IDENTITY = ("stage", "model", "task", "method", "seed")
# The first columns; then whatever metrics, cost, provenance and options the records hold, by name.
RUN_COLUMNS = (
    "preset",
    *IDENTITY,
    "kind",
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
)


def flatten(record: RunRecord) -> dict[str, Any]:
    """Everything that a record holds, nested names joined with dots, lists with `;` and notes with ` | `.

    What the run was told stands under `spec.`, unless it is one of the columns that every run has.
    """
    random_init, downloaded = record.spec.get("random_init"), record.spec.get("downloaded")
    pretrained = record.model != NO_MODEL and not random_init and not downloaded
    row: dict[str, Any] = {name: getattr(record, name) for name in IDENTITY}
    row |= {
        "kind": record.spec.get("settings", {}).get("kind"),
        "pretraining": pretraining_name(record.model) if pretrained else None,
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
    row |= {f"metric.{name}": value for name, value in record.metrics.items()}
    cost = record.cost.model_dump()
    for group in ("flops", "parameters"):
        row |= {f"{group}.{name}": value for name, value in cost.pop(group).items()}
    row |= dict(_leaves("cost", cost))
    row |= dict(_leaves("provenance", record.provenance.model_dump()))
    told = {name: value for name, value in record.spec.items() if value is not None and name not in RUN_COLUMNS}
    told |= {name: record.spec[name] for name in ("random_init", "downloaded") if record.spec.get(name)}
    row |= dict(_leaves("spec", told))
    row.pop("spec.settings.kind", None)
    return row | {"predictions": record.predictions, "notes": NOTE_SEPARATOR.join(record.notes)}


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}", inner)
    else:
        yield path, _cell(value)


def _cell(value: Any) -> Any:
    return ";".join(map(str, value)) if isinstance(value, list) else value


def _origin(downloaded: dict[str, Any]) -> str:
    """Where a downloaded model comes from: hub id, PyPI package or folder."""
    return str(downloaded.get("repository") or downloaded.get("package") or downloaded.get("path"))


def _generator_size(record: RunRecord) -> float:
    """A pretraining says its size; a fine-tuned model is named after it."""
    if "generator_size" in record.spec:
        return float(record.spec["generator_size"])
    return parse_model(record.model).size / 100
