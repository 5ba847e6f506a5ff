"""`quantization_layers.csv`: how a compressed model's files store every dense layer and embedding, a row a layer.

`rounding_error` is |stored - before| / |before| of a layer's weights, Frobenius, against the link before.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from electralab.artifacts import LAYERS
from electralab.errors import UserError
from electralab.files import read_json, sha256
from electralab.names import MANIFEST, artifact_in
from electralab.report.sources import Sources

RUN = ("model", "task", "method", "seed")
LAYER = ("name", "part", "bits", "weights", "bytes", "rounding_error")
COLUMNS = (*RUN, *LAYER)


def rows(sources: Sources) -> pd.DataFrame:
    """The layers of every finished run whose artifact lists them, in the order of the network.

    Raises:
        UserError: a `layers.csv` is missing, damaged, or not the one that its manifest vouches for.
    """
    found = []
    for path, record in sources.records.items():
        manifest = Path(artifact_in(str(path.parent)))
        if record.stage == "run" and record.status == "ok" and "quantized_layers" in record.metrics:
            layers = _read(manifest)
            for position, name in enumerate(RUN):
                layers.insert(position, name, getattr(record, name))
            found.append(layers)
    return pd.concat(found)[list(COLUMNS)] if found else pd.DataFrame(columns=list(COLUMNS))


def _read(manifest: Path) -> pd.DataFrame:
    """The layers of one artifact; none if its link lists none. Its other files, large ones, are not looked at."""
    path, remedy = manifest.with_name(LAYERS), f"delete {manifest.parent.parent / 'run.json'} and rerun"
    checksum = read_json(manifest).get("files", {}).get(LAYERS)
    if checksum is None:
        return pd.DataFrame(columns=list(LAYER))
    if not path.is_file():
        raise UserError(f"{path} is missing beside its {MANIFEST}: {remedy}")
    if sha256(path) != checksum:
        raise UserError(f"{path} is damaged: it is not the file that {manifest} vouches for: {remedy}")
    layers = pd.read_csv(path, keep_default_na=False)
    if missing := [name for name in LAYER if name not in layers.columns]:
        raise UserError(f"{path} was left by another version of ElectraLab (no column {', '.join(missing)}): {remedy}")
    return layers
