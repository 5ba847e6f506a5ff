"""`README.md` of an exported model: its numbers, data, licences, recipe and intended use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from electralab.artifacts import Manifest, weights_in
from electralab.export.origin import Origin
from electralab.export.parity import Parity
from electralab.files import write_text
from electralab.records import RunRecord
from electralab.report.statistics.intervals import wilson_interval

CARD = "README.md"
WEIGHTS = "Pretrained weights"
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}


def write_model_card(folder: Path, manifest: Manifest, origin: Origin, parity: Parity) -> None:
    """Write the card beside an exported graph, whose manifest is there."""
    form = str(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["form"])
    title = f"{manifest.model} on {manifest.task}: {manifest.method}"
    parts = [
        _front_matter(manifest, form),
        f"# {title}",
        _what_it_does(manifest, form, sum(path.stat().st_size for path in weights_in(folder))),
        f"## Numbers\n\n{_numbers(origin.record)}\n- Against the run that it was exported from: {parity}.",
        f"## Use\n\n{_use(manifest, form)}",
        f"## Data and licences\n\n{_data(origin)}",
        f"## Recipe\n\n{_recipe(manifest, origin)}",
        f"## Intended use and limits\n\n{_limits(manifest, origin)}",
    ]
    write_text(folder / CARD, "\n\n".join(parts) + "\n")


def _front_matter(manifest: Manifest, form: str) -> str:
    told: dict[str, Any] = {
        "pipeline_tag": "text-classification",
        "library_name": RUNTIMES[form],
        "tags": ["electralab", form, manifest.model, manifest.task],
        "license": "other",
        "license_name": "see-data-and-licences",
    }
    return f"---\n{yaml.safe_dump(told, sort_keys=False)}---"


def _what_it_does(manifest: Manifest, form: str, size: int) -> str:
    reads = "pairs of texts" if manifest.reads is not None and manifest.reads.pairs else "texts"
    answers = f"one of the labels {', '.join(f'`{label}`' for label in manifest.labels)}, with probabilities"
    if not manifest.labels:
        limits = "" if manifest.score_range is None else " from {:g} to {:g}".format(*manifest.score_range)
        answers = f"a score{limits}"
    length = "" if manifest.reads is None else f" of up to {manifest.reads.max_length} tokens"
    return (
        f"It answers {reads}{length} with {answers}: {size / 1e6:.1f} MB, any batch and length, run by "
        f"`{RUNTIMES[form]}`."
    )


def _numbers(record: RunRecord | None) -> str:
    if record is None or record.primary_metric is None or "score" not in record.metrics:
        return "- The record of the run was not beside it: no score is known."
    score, rows = record.metrics["score"], int(record.metrics.get("validation_rows", 0))
    interval = ""
    if record.primary_metric == "accuracy" and rows:
        interval = " [{:.3f}, {:.3f}]".format(*wilson_interval(score, rows))
    lines = [
        f"- {record.primary_metric} {score:.3f}{interval} on {rows:,} validation rows, seed {record.seed}. The "
        "interval, where there is one, is at 95 % and of the rows alone; another seed may score otherwise.",
    ]
    if "majority_rate" in record.metrics:
        lines.append(f"- Always answering the most frequent label scores {record.metrics['majority_rate']:.3f}.")
    if "agreement_with_previous" in record.metrics:
        lines.append(f"- {record.metrics['agreement_with_previous']:.1%} of its answers are those of the link before.")
    return "\n".join(lines)


def _use(manifest: Manifest, form: str) -> str:
    pair = ' --pair "the second text"' if manifest.reads is not None and manifest.reads.pairs else ""
    return (
        f'```sh\npip install "electralab[{"deploy" if form == "onnx" else "openvino"}]"\n'
        f'electralab predict . "a text"{pair}\n```\n\n'
        "Inputs `input_ids`, `attention_mask`, `token_type_ids` (int64, [batch, length]), output `logits`; the "
        "tokenizer is `tokenizer.json`, the names of the outputs are `id2label` in `config.json`, how texts are cut is "
        "in `manifest.json` under `reads`."
    )


def _data(origin: Origin) -> str:
    lines = []
    for what, told in (("Fine-tuned on", origin.task), (WEIGHTS, origin.model)):
        if told is None:
            lines.append(f"- {what}: {'not known here' if what != WEIGHTS else _made_here(origin.record)}.")
            continue
        sources = told.get("sources", [])
        named = "; ".join(
            f"{source.get('name')} ({source.get('source')}, licence: {source.get('licence', 'not stated')})"
            for source in sources
        )
        lines.append(f"- {what} `{told['name']}`: {named or 'made from no other source'}.")
        lines += [f"- {note}" for note in told.get("notes", [])]
        lines += [f"- The pretrained weights saw {name}: {how}" for name, how in told.get("trained_on", {}).items()]
    return "\n".join(lines)


def _made_here(record: RunRecord | None) -> str:
    """Where weights come from that were not downloaded."""
    if record is None or record.spec.get("downloaded"):
        return "not known here"
    if record.spec.get("random_init"):
        return "none, it began with random ones"
    extensions = f", with the extensions {', '.join(record.extensions)}" if record.extensions else ""
    return f"pretrained by the pipeline itself with the recipe `{record.spec.get('pretraining_recipe')}`{extensions}"


def _recipe(manifest: Manifest, origin: Origin) -> str:
    settings = yaml.safe_dump(origin.settings, sort_keys=False).rstrip()
    lines = [
        f"The chain `{manifest.method}` on `{manifest.model}`, seed {manifest.seed}:\n",
        "```yaml",
        settings,
        "```",
    ]
    if origin.record is not None:
        made = origin.record.provenance
        versions = ", ".join(f"{name} {version}" for name, version in sorted(made.versions.items()))
        lines.append(f"\nMade on {made.gpu or made.device} ({made.machine}), commit {made.git_commit}; {versions}.")
    return "\n".join(lines)


def _limits(manifest: Manifest, origin: Origin) -> str:
    lines = [
        f"- For research, and for texts like the rows of `{manifest.task}`; nothing is known about others, about other "
        "languages, or about groups of people.",
        "- One seed of one run: compare with the tables of its experiment before drawing conclusions.",
        "- Not for decisions about people.",
    ]
    if origin.record is not None:
        of_task = [] if origin.task is None else origin.task.get("notes", [])
        lines += [f"- {note}" for note in origin.record.notes if note not in of_task]
    return "\n".join(lines)
