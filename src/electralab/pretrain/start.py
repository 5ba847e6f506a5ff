"""Going on from given weights: those of another pretraining, or a downloaded ELECTRA."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from electralab.data.models import weight_files
from electralab.electra.convert import continue_from
from electralab.electra.pair import ElectraPair
from electralab.errors import UserError
from electralab.files import files_checksum, read_json
from electralab.model_files import TOKENIZER
from electralab.names import record_in
from electralab.records import check_network, read_record

# What two tokenizers with one vocabulary may still cut differently: case, accents, marks, other scripts.
PROBE = "The Naïve café's RE-opening, don't — 北京 Ünïted 3.14 x_y\u0301 ﬁne"


@dataclass(frozen=True)
class Start:
    """Networks to go on from.

    Args:
        discriminator, generator: Hugging Face directories; None for a generator that is not there.
        checksums: of their weights.
        extensions: departures from the paper in how they were pretrained.
    """

    discriminator: Path
    generator: Path | None
    checksums: dict[str, str]
    extensions: tuple[str, ...]

    def give(self, pair: ElectraPair, tokenizer: Path) -> list[str]:
        """Give a pair these weights; returns what a reader must know.

        Args:
            pair: drawn already; what the networks lack stays as it is.
            tokenizer: `tokenizer.json` of the pretraining.

        Raises:
            UserError: vocabularies or shapes differ, or weights are missing or damaged.
        """
        _check_tokenizer(tokenizer, self.discriminator / TOKENIZER)
        drawn = continue_from(pair, self.discriminator, self.generator)
        return [f"goes on from {self.discriminator}", *(f"{part} is drawn anew, it was not given" for part in drawn)]


def read_start(start: Path, generator: Path | None) -> Start:
    """Find the networks to go on from, and see that their weights are those that were vouched for.

    Args:
        start: record of a pretraining, or manifest of a downloaded discriminator.
        generator: manifest of the downloaded generator, if there is one.

    Raises:
        UserError: weights are missing or were changed, or their pretraining came to nothing.
    """
    if start == Path(record_in(str(start.parent))):
        record = read_record(start)
        if record.status != "ok":
            raise UserError(f"{start}: this pretraining is {record.status} ({record.reason}), nothing goes on from it")
        folders = {"start": start.parent / "discriminator", "start_generator": start.parent / "generator"}
        for folder in folders.values():
            check_network(start, folder)
        extensions = tuple(record.extensions)
    else:
        manifests = {"start": start} | ({"start_generator": generator} if generator else {})
        folders = {name: _downloaded(manifest) for name, manifest in manifests.items()}
        extensions = ()
    checksums = {name: files_checksum(weight_files(folder)) for name, folder in folders.items()}
    return Start(folders["start"], folders.get("start_generator"), checksums, extensions)


def _downloaded(manifest: Path) -> Path:
    folder = manifest.parent
    if files_checksum(weight_files(folder)) != read_json(manifest).get("sha256"):
        raise UserError(f"the weights in {folder} are not those of {manifest}: delete the folder and fetch it again")
    return folder


def _check_tokenizer(ours: Path, theirs: Path) -> None:
    """Refuse weights whose embeddings mean other word pieces."""
    mine, other = (Tokenizer.from_str(json.dumps(read_json(path))) for path in (ours, theirs))
    for tokenizer in (mine, other):
        tokenizer.no_padding()
        tokenizer.no_truncation()
    remedy = "use the model's own tokenizer (tokenizers: {name: {kind: model, model: ...}})"
    if mine.get_vocab() != other.get_vocab():
        raise UserError(f"{ours} and {theirs} have other vocabularies, so that no weight would fit: {remedy}")
    cut, by_model = (tokenizer.encode(PROBE, add_special_tokens=False).tokens for tokenizer in (mine, other))
    if cut != by_model:
        raise UserError(f"{ours} cuts text otherwise than {theirs} ({' '.join(cut)}; {' '.join(by_model)}): {remedy}")
