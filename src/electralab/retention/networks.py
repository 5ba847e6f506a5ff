"""The networks of a measurement, each the one that is vouched for: pretrained, generator, and what a run left."""

from __future__ import annotations

from pathlib import Path

from electralab.artifacts import read_manifest, weights_in
from electralab.config.methods.chains import CALLED
from electralab.data.models import DECODERS, weight_files
from electralab.electra.convert import load_encoder
from electralab.electra.encoder import Encoder
from electralab.errors import Unsuitable, UserError
from electralab.files import files_checksum, read_json
from electralab.model_files import CONFIG, TOKENIZER
from electralab.names import record_in
from electralab.records import check_network, read_record
from electralab.specs import RetentionSpec, weights_folder


def pretrained_network(spec: RetentionSpec, vouching: Path | None) -> Path:
    """The folder of the pretrained network.

    Raises:
        Unsuitable: there is none, or it is a decoder.
        UserError: it is not the one that is vouched for.
    """
    if vouching is None:
        raise Unsuitable(f"{spec.model} was never pretrained: there is nothing to retain")
    folder = weights_folder(spec, vouching)
    _check_vouched(vouching, folder, downloaded=spec.downloaded is not None)
    if (kind := read_json(folder / CONFIG).get("model_type")) in DECODERS:
        raise Unsuitable(f"{spec.model} is a decoder ({kind}): it predicts no masked word")
    return folder


def generator_network(spec: RetentionSpec, pretrained: Path, given: Path | None) -> Path:
    """The folder of the frozen generator.

    Args:
        spec: what is measured.
        pretrained: vouches for the discriminator.
        given: vouches for another generator than its own.

    Raises:
        Unsuitable: there is none.
        UserError: it is not the one that is vouched for.
    """
    if given is not None:
        downloaded = given != Path(record_in(str(given.parent)))
        folder = given.parent if downloaded else given.parent / "generator"
        _check_vouched(given, folder, downloaded)
        return folder
    if spec.downloaded is not None:
        raise Unsuitable(
            f"{spec.model} comes without the generator that it was trained with: name one in "
            f"retention.{spec.name}.generator"
        )
    folder = pretrained.parent / "generator"
    _check_vouched(pretrained, folder, downloaded=False)
    return folder


def _check_vouched(vouching: Path, folder: Path, downloaded: bool) -> None:
    if downloaded:
        if files_checksum(weight_files(folder)) != read_json(vouching).get("sha256"):
            raise UserError(
                f"the weights in {folder} are not those of {vouching}: delete the folder and fetch it again"
            )
        return
    record = read_record(vouching)
    if record.status != "ok":
        raise Unsuitable(f"pretraining {record.model} is {record.status} ({record.reason})")
    check_network(vouching, folder)


def measured_body(spec: RetentionSpec, pretrained: Path, start: Path | None) -> tuple[Encoder, dict[str, str]]:
    """The encoder that is measured, and the checksum of its weights.

    Raises:
        Unsuitable: the run left no whole model, or one that reads otherwise.
        UserError: its files are missing or damaged.
    """
    if start is None:
        return load_encoder(pretrained)[0], {"model": files_checksum(weight_files(pretrained))}
    manifest, folder = read_manifest(start), start.parent
    if manifest.form is None:
        raise Unsuitable(f"{manifest.method} left no model ({manifest.reason})")
    if manifest.form != "huggingface":
        remedy = ": append a link that merges it" if manifest.form == "adapter" else ""
        raise Unsuitable(f"{manifest.method} left {CALLED[manifest.form]}, and plain models are measured{remedy}")
    if vocabulary(folder) != vocabulary(pretrained):
        raise Unsuitable(f"{manifest.method} left a model with another vocabulary than {spec.model}")
    return load_encoder(folder)[0], {"model": files_checksum(weights_in(folder))}


def check_fit(spec: RetentionSpec, encoder: Encoder, pretrained: Path) -> None:
    """The head of pretraining fits a body of its width alone."""
    before = read_json(pretrained / CONFIG)
    width = before.get("hidden_size", before.get("dim"))
    if encoder.config.hidden_size != width:
        raise Unsuitable(
            f"its layers are {encoder.config.hidden_size} wide, and the head of {spec.model} reads {width}"
        )


def vocabulary(folder: Path) -> object:
    """The pieces of a folder's tokenizer, to be compared."""
    return read_json(folder / TOKENIZER)["model"]["vocab"]
