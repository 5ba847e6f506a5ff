"""Table `quantization_layers`: how every dense layer and embedding is stored, and how far it is from what it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from electralab.report import footnotes
from electralab.report.details.quantization_layers import LAYER
from electralab.report.grid import Column, Section, Table, frame, grids
from electralab.report.results import Results
from electralab.report.runs import Runs
from electralab.report.text import ABSENT, listing

FEW = 16  # below as many bits a weight is quantized
PLACE = ["task", "model"]


class Layer(NamedTuple):
    """A layer of a chain; `rounding_error` is the mean over `seeds`, the rest is the same for all of them."""

    task: str
    model: str
    method: str
    name: str
    part: str
    bits: int
    weights: int
    bytes: float
    rounding_error: float
    seeds: int


def table(results: Results) -> Table:
    """A section for every task and model: layers down in the order of the network, chains across.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs, title = results.finetuned, "Quantization by layer"
    layers = _over_seeds(results.detail("quantization_layers"))
    numbers = frame(layers, CSV)
    if not layers:
        about = "No finished run of this experiment lists layers in few bits."
        return Table(title, about, numbers, footnotes.failed(runs))
    places: dict[tuple[str, str], list[Layer]] = {}
    for layer in layers:
        places.setdefault((layer.task, layer.model), []).append(layer)
    arms = {(layer.task, layer.model, layer.method) for layer in layers}
    rows = runs.finetuned
    own = rows[[key in arms for key in zip(rows["task"], rows["model"], rows["method"])]]
    return Table(
        title,
        f"{footnotes.measured(own, 'runs')} Rounding errors: mean over seeds.",
        numbers,
        [part for place, of in places.items() for part in _sections(runs, *place, of)] + footnotes.failed(runs),
        [
            "Rounding error: |stored - before| / |before| of a layer's weights, Frobenius, where `before` is what the "
            "link before stores; activations, which some chains round too, are not in it (`logit_error` of the table "
            "`quantization` has both). A dash: not rounded. kB are 1,000 bytes, scales and zero points included. Read "
            "from the saved files, not from what was asked for."
        ],
        [_answer(runs, *place, of) for place, of in places.items()],
    )


def _over_seeds(rows: pd.DataFrame) -> list[Layer]:
    """The layers of every chain, over its seeds."""
    found = []
    for keys, own in rows.groupby([*PLACE, "method", "name"], sort=False):
        task, model, method, name = map(str, keys)
        part, bits, weights = (own[column].iloc[0] for column in ("part", "bits", "weights"))
        size, error = float(own["bytes"].median()), float(own["rounding_error"].mean())
        found.append(Layer(task, model, method, name, str(part), int(bits), int(weights), size, error, len(own)))
    return found


CSV: list[Column[Layer]] = [
    *(Column(name, lambda layer, name=name: getattr(layer, name)) for name in (*PLACE, "method", *LAYER, "seeds")),  # type: ignore[misc]
]


def _sections(runs: Runs, task: str, model: str, own: Sequence[Layer]) -> list[Section]:
    """Two grids: errors, and how the layers are stored; chains whose layers have other names stand apart."""
    by_chain: dict[str, dict[str, Layer]] = {}
    for layer in own:
        by_chain.setdefault(layer.method, {})[layer.name] = layer
    alike: dict[tuple[str, ...], list[str]] = {}
    for chain, layers in by_chain.items():
        alike.setdefault(tuple(layers), []).append(chain)
    found, title = [], f"{task}, {runs.title(model)}"
    first: Column[str] = Column("", lambda name: name, "Layer")
    for names, chains in alike.items():
        for what, text in (("rounding error", _error), ("stored as", _stored)):
            columns = [_of_chain(by_chain[chain], chain, text) for chain in chains]
            found += grids(f"{title}: {what}", names, first, columns)
    return found


def _of_chain(layers: dict[str, Layer], chain: str, text: Callable[[Layer], str]) -> Column[str]:
    return Column("", lambda name: text(layers[name]), chain)


def _error(layer: Layer) -> str:
    return f"{layer.rounding_error:.4f}" if layer.bits < FEW else ABSENT


def _stored(layer: Layer) -> str:
    return f"{layer.bits} bits, {layer.bytes / 1e3:,.1f} kB"


def _answer(runs: Runs, task: str, model: str, own: Sequence[Layer]) -> str:
    """The layer with the largest error of every chain, the worst chain first."""
    worst: dict[str, Layer] = {}
    for layer in sorted(own, key=lambda layer: -layer.rounding_error):
        if layer.bits < FEW:
            worst.setdefault(layer.method, layer)
    parts = [f"`{layer.method}` {layer.rounding_error:.4f} at `{layer.name}`" for layer in worst.values()]
    return f"**{task}, {runs.title(model)}:** largest rounding error of a layer: {listing(parts)}."
