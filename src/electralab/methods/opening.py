"""From an artifact to a model that answers: the one way for links of a chain, for benchmarks and for users.

`transformers` takes five seconds to import: whoever opens an ONNX graph does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from electralab.artifacts import Left, Manifest, Reads, read_manifest, weights_in
from electralab.config import AdapterMethod, InContext, Method
from electralab.data.example import Example
from electralab.data.models import DECODERS, weight_files
from electralab.deploy.graphs import GRAPHS
from electralab.errors import UserError
from electralab.files import files_checksum, read_json, sha256
from electralab.finetune.decoder.model import VerbalizedDecoder, label_logits
from electralab.finetune.decoder.prompts import PromptTokenizer, Template
from electralab.finetune.encoder.huggingface import HuggingFaceEncoder
from electralab.finetune.evaluation import without_test
from electralab.finetune.examples import EncodedExamples, encode_examples, sample_examples
from electralab.finetune.inference import TIMED_ROWS, inference_seconds
from electralab.finetune.loop import predict
from electralab.finetune.metrics import Floats
from electralab.finetune.objective import Classification, Objective, Regression
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.job import Job, Outcome
from electralab.methods.sizes import parameter_count
from electralab.model_files import CONFIG, TOKENIZER
from electralab.tokens.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformers.modeling_utils import PreTrainedModel

    from electralab.methods.decoder import Prompts

_METHOD: TypeAdapter[Method] = TypeAdapter(Method)


class Opened(NamedTuple):
    """A model that answers rows of its task."""

    model: TrainedModel  # on its device
    encode: Callable[[list[Example], bool], EncodedExamples]
    objective: Objective
    reads: Reads
    tokenizer: Path  # the folder whose tokenizer it reads with

    def answer(self, examples: list[Example], device: str, title: str) -> Floats:
        """Log-probabilities [N, classes], or the scores [N] of a regression.

        Raises:
            RunFailed: the model answers with something that is not a finite number.
        """
        encoded = self.encode(examples, isinstance(self.objective, Regression))
        return predict(self.model, self.objective, encoded, np.arange(len(encoded)), device, title)


def open_artifact(path: Path, device: str) -> tuple[Manifest, Opened]:
    """Open what a run left, by its manifest.

    Raises:
        UserError: the artifact, or the model under an adapter, is missing, damaged or was changed.
    """
    manifest = read_manifest(path)
    if manifest.form == "adapter":
        return manifest, _open_adapter(path.parent, manifest, device)
    if manifest.form in ("huggingface", "low_bit", *GRAPHS):
        return manifest, _open_whole(path.parent, manifest, len(manifest.labels), device)
    raise UserError(f"{path} holds nothing to open: {manifest.reason or f'its form is {manifest.form}'}")


def open_huggingface(folder: Path, left: Left, classes: int, device: str) -> Opened:
    """Open a Hugging Face folder with a head, or a decoder, to be used and not trained; also one in few bits."""
    from electralab.methods.base_models import load_causal, load_finetuned

    reads = _reads(left)
    if read_json(folder / CONFIG).get("model_type") in DECODERS:
        prompts = _prompts(folder, reads)
        network = load_causal(folder, InContext(storage=_computed(folder)), device)
        decoder = VerbalizedDecoder(network, prompts.label_ids).to(device).eval()
        return Opened(decoder, prompts.encode, Classification(classes), reads, folder)
    network = load_finetuned(folder, reads.pooling, InContext(storage=_computed(folder)), device)
    encoder = HuggingFaceEncoder(network, reads.pooling).to(device).eval()
    return Opened(encoder, _encode(folder, reads), _objective(reads, classes), reads, folder)


def network_of(model: TrainedModel) -> PreTrainedModel:
    """The network of `transformers` in what a folder was opened as."""
    from transformers.modeling_utils import PreTrainedModel

    return next(module for module in model.modules() if isinstance(module, PreTrainedModel))


def _open_whole(folder: Path, left: Left, classes: int, device: str) -> Opened:
    """Open what needs no other model beside it."""
    if left.form in GRAPHS:
        from electralab.methods.onnx.session import GraphEncoder

        reads = _reads(left)
        return Opened(
            GraphEncoder(folder, left.form), _encode(folder, reads), _objective(reads, classes), reads, folder
        )
    return open_huggingface(folder, left, classes, device)


def _open_adapter(folder: Path, manifest: Manifest, device: str) -> Opened:
    from electralab.methods.adapters.adapt import reload_adapter
    from electralab.methods.base_models import load_base, load_causal

    try:
        method = _METHOD.validate_python(manifest.settings)
    except ValidationError:
        raise UserError(
            f"the adapter in {folder} was left by another version of ElectraLab, with options that this one does not "
            f"know: delete {folder} and run the same command again"
        ) from None
    assert isinstance(method, AdapterMethod) and manifest.base is not None
    reads, base = _reads(manifest), (folder / manifest.base.folder).resolve()
    if files_checksum(weight_files(base)) != manifest.base.sha256:
        raise UserError(f"the weights in {base} are not those that the adapter in {folder} was trained on")
    classes = len(manifest.labels)
    if reads.prompt is not None:
        prompts = _prompts(base, reads)
        words = torch.tensor(prompts.label_ids, device=device)
        causal = load_causal(base, method, device)
        decoder = reload_adapter(causal, folder, method, lambda outputs, *_: label_logits(outputs, words))
        return Opened(decoder.to(device).eval(), prompts.encode, Classification(classes), reads, base)
    encoder = reload_adapter(load_base(base, classes or 1, method, manifest.seed, device), folder, method)
    return Opened(encoder.to(device).eval(), _encode(folder, reads), _objective(reads, classes), reads, folder)


def derived(job: Job, left: Left, notes: list[str]) -> Outcome:
    """The outcome of a link that trains nothing: what it left in its folder is opened, timed and asked."""
    assert left.reads is not None
    opened = _open_whole(job.artifact, left, len(job.data.labels), job.device)
    scored = job.data if left.reads.answer_test else without_test(job.data)
    timed = opened.encode(sample_examples(scored.validation, TIMED_ROWS, 0), scored.regression)
    seconds = inference_seconds({"deployed": opened.model}, opened.objective, timed, job.device)["deployed"]
    parameters = parameter_count(opened.model)
    return Outcome(
        answer=partial(opened.answer, device=job.device, title=job.spec.title),
        scored=scored,
        left=left,
        metrics={
            "base_parameters": parameters,
            "trainable_parameters": 0,
            "weights_bytes": sum(path.stat().st_size for path in weights_in(job.artifact)),
            "inference_seconds": seconds,
        },
        parameters={"total": parameters, "trainable": 0},
        checksums={"tokenizer": sha256(opened.tokenizer / TOKENIZER), "model": _start_checksum(job)},
        notes=notes,
        mnli_validation=left.reads.mnli_validation,
    )


def _start_checksum(job: Job) -> str:
    assert job.start is not None, "a link that trains nothing goes on from an artifact"
    return files_checksum(weights_in(job.start.parent))


def _computed(folder: Path) -> Literal["fp32", "bf16"]:
    """What a model computes in: bf16 where the link `half` was told so."""
    return "bf16" if read_json(folder / CONFIG).get("dtype") == "bfloat16" else "fp32"


def _reads(left: Left) -> Reads:
    assert left.reads is not None, "whatever can be opened says how it reads"
    return left.reads


def _prompts(folder: Path, reads: Reads) -> Prompts:
    from electralab.methods.decoder import Prompts

    assert reads.prompt is not None, "a decoder is given prompts"
    template = Template(reads.prompt.text, reads.prompt.words, reads.prompt.gap)
    tokenizer = PromptTokenizer(folder)
    return Prompts(template, tokenizer, tokenizer.label_ids(template), reads.max_length)


def _encode(folder: Path, reads: Reads) -> Callable[[list[Example], bool], EncodedExamples]:
    tokenizer = load_tokenizer(folder / TOKENIZER)
    return lambda examples, regression: encode_examples(examples, tokenizer, reads.max_length, regression)


def _objective(reads: Reads, classes: int) -> Objective:
    return Classification(classes) if classes else Regression(reads.offset, reads.scale)
