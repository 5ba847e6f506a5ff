"""One measurement of retention: the body of a run, or of the pretrained model, under the head that pretraining gave."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from electralab.data.corpora import iter_documents
from electralab.data.models import weight_files
from electralab.electra.convert import has_detection_head, load_encoder, load_language_head, load_pair
from electralab.electra.encoder import Encoder
from electralab.electra.pair import GeneratorHead
from electralab.errors import RunFailed, Unsuitable, UserError
from electralab.files import atomic_write, files_checksum, read_json
from electralab.model_files import CONFIG, TOKENIZER
from electralab.records import Meter, RunRecord, write_record
from electralab.retention.detection import detected
from electralab.retention.influence import Documents, Measured, area_under_curve, mean_of
from electralab.retention.networks import (
    check_fit,
    generator_network,
    measured_body,
    pretrained_network,
    vocabulary,
)
from electralab.retention.pseudo_perplexity import (
    LanguageModel,
    published_perplexity,
    published_windows,
    token_losses,
)
from electralab.retention.windows import Windows, sampled_windows
from electralab.specs import RetentionSpec
from electralab.tokens.tokenizer import TextEncoder, load_tokenizer

DOCUMENTS = "documents.csv"
LOSS, AREA = "masked_loss", "rtd_auc"


class Inputs(NamedTuple):
    """The files that a measurement reads."""

    corpus: Path
    """Manifest of the corpus."""
    pretrained: Path | None = None
    """Vouches for what the chain started from: record of a pretraining, or manifest of a downloaded model; None for an
    untrained model."""
    start: Path | None = None
    """Manifest of what the run left; None to measure the pretrained model itself."""
    generator: Path | None = None
    """Vouches for another generator than that of the model's own pretraining."""


class Found(NamedTuple):
    """What a measurement came to."""

    metric: str
    measured: Measured
    metrics: dict[str, float]
    checksums: dict[str, str]


@dataclass(frozen=True)
class Exam:
    """What every model of a tokenizer is asked alike."""

    spec: RetentionSpec
    corpus: Path
    tokenizer: TextEncoder
    windows: Windows
    device: str

    @property
    def scored_documents(self) -> Documents:
        """The document of every token that counts, [T]."""
        return self.windows.documents[:, None].expand_as(self.windows.scored)[self.windows.scored].numpy()


def run_retention(
    spec: RetentionSpec, record_path: Path, inputs: Inputs, threads: int = 1, device: str = "cpu"
) -> RunRecord:
    """Measure; write the influence of every document (`documents.csv`), and then the record.

    A model without a head, or whose body fits none, gives a record with the status `skipped` and the reason.

    Raises:
        UserError: an input is missing or damaged, or the generator reads with another vocabulary.
    """
    torch.set_num_threads(threads)
    meter = Meter(device, threads, {"corpus": held_out_checksum(inputs.corpus)})
    record = RunRecord(
        stage="retention",
        model=spec.model,
        task=spec.task,
        method=spec.method,
        seed=spec.seed,
        recipe=spec.name,
        cost=meter.cost(),
        provenance=meter.provenance(),
        spec=spec.model_dump(mode="json"),
    )
    documents = record_path.with_name(DOCUMENTS)
    try:
        found = _measured(spec, inputs, device)
    except (RunFailed, Unsuitable) as error:
        _write_documents(documents, None)
        status: Literal["failed", "skipped"] = "failed" if isinstance(error, RunFailed) else "skipped"
        update = {"status": status, "reason": str(error), "cost": meter.cost()}
        return write_record(record_path, record.model_copy(update=update))
    meter.data |= found.checksums
    _write_documents(documents, found.measured)
    update = {
        "primary_metric": found.metric,
        "metrics": found.metrics,
        "cost": meter.cost(),
        "provenance": meter.provenance(),
    }
    return write_record(record_path, record.model_copy(update=update))


def held_out_checksum(corpus: Path) -> str:
    """Changes when any held-out document does."""
    return "+".join(entry["sha256"] for entry in read_json(corpus)["held_out"])


def _measured(spec: RetentionSpec, inputs: Inputs, device: str) -> Found:
    pretrained = pretrained_network(spec, inputs.pretrained)
    assert inputs.pretrained is not None
    encoder, checksums = measured_body(spec, pretrained, inputs.start)
    if spec.settings.window > encoder.config.max_positions:
        raise Unsuitable(
            f"window {spec.settings.window} is longer than the {encoder.config.max_positions} positions of model "
            f"{spec.model}: lower retention.{spec.name}.window"
        )
    head = load_language_head(pretrained)
    if head is None and not has_detection_head(pretrained):
        raise Unsuitable(f"{spec.model} comes without a masked-language head, and is no discriminator of an ELECTRA")
    check_fit(spec, encoder, pretrained)
    tokenizer = load_tokenizer(pretrained / TOKENIZER)
    windows = sampled_windows(iter_documents(inputs.corpus, "held_out"), tokenizer, spec.settings)
    exam = Exam(spec, inputs.corpus, tokenizer, windows, device)
    if head is not None:
        found = _language(exam, encoder, head, pretrained)
    else:
        found = _detection(exam, encoder, pretrained, generator_network(spec, inputs.pretrained, inputs.generator))
    if not all(map(math.isfinite, found.metrics.values())):
        raise RunFailed("the model answers with something that is not a finite number")
    return found._replace(checksums=checksums | found.checksums)


# --- what is measured -------------------------------------------------------------------------------------------------


def _language(exam: Exam, encoder: Encoder, head: GeneratorHead, pretrained: Path) -> Found:
    """Pseudo-perplexity of the body under its own word table; the published one has that of pretraining."""
    settings, tokenizer, windows = exam.spec.settings, exam.tokenizer, exam.windows
    if not read_json(pretrained / CONFIG).get("tie_word_embeddings", True):
        raise Unsuitable(f"{exam.spec.model} has a masked-language head with an output matrix of its own")
    model = LanguageModel(encoder, head, encoder.embeddings.word.weight.detach()).to(exam.device).eval()
    losses = token_losses(model, windows, tokenizer.mask_id, settings.batch_tokens)
    measured = mean_of(losses[windows.scored].numpy(), exam.scored_documents)
    metrics = _counts(exam) | _with_interval(LOSS, measured)
    metrics |= {name.replace(LOSS, "pseudo_perplexity"): _exp(metrics[name]) for name in metrics if LOSS in name}
    if settings.published_windows:
        table = load_encoder(pretrained)[0].embeddings.word.weight.detach()
        model = LanguageModel(encoder, head, table).to(exam.device).eval()
        ids = tokenizer.encode(["\n\n".join(iter_documents(exam.corpus, "held_out"))])[0]
        stream, positions = [tokenizer.cls_id, *ids, tokenizer.sep_id], encoder.config.max_positions
        shown = published_windows(stream, positions, tokenizer.pad_id, settings.published_windows, settings.seed)
        metrics["published_perplexity"] = published_perplexity(model, shown, tokenizer.mask_id, settings.batch_tokens)
        metrics["published_windows"] = float(len(shown.lengths))
    return Found(LOSS, measured, metrics, {})


def _detection(exam: Exam, encoder: Encoder, pretrained: Path, generator: Path) -> Found:
    """AUC of the body under the pretrained head, over the tokens that may be replaced."""
    settings, scored = exam.spec.settings, exam.windows.scored
    if vocabulary(pretrained) != vocabulary(generator):
        raise UserError(
            f"{exam.spec.title}: the generator in {generator} has another vocabulary than {pretrained}: name one with "
            f"the model's tokenizer in retention.{exam.spec.name}.generator"
        )
    pair = load_pair(pretrained, generator, "none")
    if settings.window > pair.generator.config.max_positions:
        raise Unsuitable(
            f"window {settings.window} is longer than the {pair.generator.config.max_positions} positions of the "
            f"generator: lower retention.{exam.spec.name}.window"
        )
    pair.discriminator = encoder
    pair.to(exam.device).eval()
    randomness = torch.Generator().manual_seed(settings.seed)
    found = detected(pair, exam.windows, exam.tokenizer, randomness, settings.batch_tokens)
    logits, replaced = found.logits[scored].double().numpy(), found.replaced[scored].numpy()
    if replaced.all() or not replaced.any():
        raise Unsuitable(f"the generator replaced {'every' if replaced.any() else 'no'} token: raise sequences")
    measured = area_under_curve(logits, replaced, exam.scored_documents)
    metrics = _counts(exam) | _with_interval(AREA, measured) | {"rtd_base_rate": float(replaced.mean())}
    return Found(AREA, measured, metrics, {"generator": files_checksum(weight_files(generator))})


def _counts(exam: Exam) -> dict[str, float]:
    windows = exam.windows
    counted = {"documents": len(set(windows.documents.tolist())), "windows": len(windows.lengths)}
    return {name: float(value) for name, value in counted.items()} | {"tokens": float(windows.scored.sum())}


def _with_interval(metric: str, measured: Measured) -> dict[str, float]:
    half = measured.half_width
    ends = {} if half is None else {f"{metric}_low": measured.value - half, f"{metric}_high": measured.value + half}
    return {metric: measured.value} | ends


def _exp(loss: float) -> float:
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def _write_documents(path: Path, measured: Measured | None) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["document", "influence"])
        if measured is not None:
            writer.writerows(zip(measured.documents.tolist(), measured.influence.tolist(), strict=True))
