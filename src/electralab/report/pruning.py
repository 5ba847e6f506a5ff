"""Chains that set weights to zero or take structures out, each beside the dense model that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from electralab.catalogue import PRUNING
from electralab.names import chain_links, chain_name
from electralab.report.compression import beginnings, link_kinds, pruned
from electralab.report.entries import AS_PUBLISHED, reference
from electralab.report.runs import Arm, Cell, Runs
from electralab.report.statistics.comparisons import Arm as ComparedArm
from electralab.report.statistics.differences import Difference
from electralab.report.statistics.intervals import Summary, summarize

AS_YOU_TUNE = "prune_as_you_tune"
NO_TEACHER, FIXED = "none", "fixed"
ZEROING = ("prune", "prune_full", AS_YOU_TUNE)
REMOVING = ("remove", "remove_heads")
# Means over seeds of what runs say.
MEASURED = (
    *("sparsity.eligible", "sparsity.encoder", "sparsity.all", "nonzero_parameters", "parameters_before"),
    *("removed_heads", "removed_neurons", "removed_layers", "agreement_with_previous", "validation_rows"),
    *("weights_bytes", "bytes_compressed"),
)


@dataclass(frozen=True)
class Line:
    """A chain on a task with a model; `score` is None where no run is finished.

    `dense` is what it is compared with, and stands first in its group: there `chain == dense`. None: no such run.
    """

    model: str
    cell: Cell
    kinds: tuple[str, ...]
    dense: str | None
    words: str
    settings: tuple[Any, ...]  # all but the sparsity: chains with the same are points of one line
    asked: float | None
    score: Summary | None
    minus_dense: Difference | None
    bytes: float | None  # of the files of weights
    measured: dict[str, float | None]

    @property
    def chain(self) -> str:
        """Its name."""
        return self.cell.method

    @property
    def arm(self) -> Arm:
        """Task and chain, and the model."""
        return self.cell, self.model

    @property
    def sparsity(self) -> float | None:
        """Share of zeros among the weights of the encoder's dense layers."""
        return self.measured["sparsity.encoder"]

    @property
    def is_dense(self) -> bool:
        """Whether the others of its group are compared with it."""
        return self.chain == self.dense

    @property
    def zeroes(self) -> bool:
        """Whether a link sets weights to zero."""
        return any(kind in ZEROING for kind in self.kinds)

    @property
    def removes(self) -> bool:
        """Whether a link takes structures out."""
        return any(kind in REMOVING for kind in self.kinds)


def lines(runs: Runs) -> dict[tuple[str, str], list[Line]]:
    """Of every task and model with such a chain: each dense model, then the chains that are compared with it."""
    wanted = pruned(runs)
    asked = set(zip(runs.frame["task"], runs.frame["model"], runs.frame["method"]))
    found: dict[tuple[str, str], list[Line]] = {}
    for task in dict.fromkeys(cell.task for cell in runs.cells):
        for model in runs.finetuned_models:
            methods = [chain for chain in runs.kinds if (task, model, chain) in asked]
            own = [chain for chain in methods if chain in wanted]
            groups: dict[str | None, list[Line]] = {}
            for chain in own:
                dense = _dense(runs, task, model, chain, methods)
                group = groups.setdefault(dense, [line_of(runs, task, model, dense, dense)] if dense else [])
                group.append(line_of(runs, task, model, chain, dense))
            for _, group in sorted(groups.items(), key=lambda item: item[0] or "~"):
                found.setdefault((task, model), []).extend(sorted(group, key=_place))
    return found


def grouped(own: Sequence[Line]) -> list[list[Line]]:
    """The lines of a task and model by the dense model that they are compared with."""
    return [[line for line in own if line.dense == dense] for dense in dict.fromkeys(line.dense for line in own)]


def _place(line: Line) -> tuple[Any, ...]:
    """Dense first; then by method, each from its lowest sparsity to its highest."""
    return not line.is_dense, line.words, line.asked or 0.0, chain_links(line.chain)


def _dense(runs: Runs, task: str, model: str, chain: str, methods: Sequence[str]) -> str | None:
    """The links before the first that prunes; of one that prunes before it is fine-tuned, the full fine-tuning."""
    first = next(place for place, kind in enumerate(link_kinds(runs, chain)) if kind in PRUNING)
    if first:
        return chain_name(chain_links(chain)[:first])
    full = reference(runs, task, model, methods)
    return full.method if full else None


def line_of(runs: Runs, task: str, model: str, chain: str, dense: str | None) -> Line:
    """A chain beside a dense model; it need not prune."""
    cell = Cell(task, chain)
    by_seed = runs.by_seed(cell, model)
    told = [runs.settings(beginning) for beginning in beginnings(chain)]
    shares = [settings["sparsity"] for settings in told if "sparsity" in settings]
    apart = tuple(tuple(sorted((k, str(v)) for k, v in one.items() if k != "sparsity")) for one in told)
    arms = [ComparedArm(model, name) for name in (chain, dense) if name]
    return Line(
        model,
        cell,
        tuple(link_kinds(runs, chain)),
        dense,
        "dense" if chain == dense else chain_words(runs, chain),
        (tuple(link_kinds(runs, chain)), apart),
        shares[-1] if shares else None,
        summarize(list(by_seed.values())) if by_seed else None,
        runs.difference(task, *arms) if dense and chain != dense else None,
        runs.typical(cell, model, "cost.bytes_on_disk") or None,
        {metric: _mean(runs, cell, model, metric) for metric in MEASURED},
    )


def _mean(runs: Runs, cell: Cell, model: str, metric: str) -> float | None:
    values = list(runs.by_seed(cell, model, metric).values())
    return fmean(values) if values else None


# --- words ----------------------------------------------------------------------------------------------------------


def chain_words(runs: Runs, chain: str) -> str:
    """What the links do from the first that prunes: `rows, l2; then trained further, zeros kept`."""
    kinds = link_kinds(runs, chain)
    first = next((place for place, kind in enumerate(kinds) if kind in PRUNING), 0)
    return "; then ".join(link_words(runs, beginning) for beginning in beginnings(chain)[first:])


def link_words(runs: Runs, chain: str) -> str:
    """What the last link of a chain does; of one that does not prune its kind."""
    kind = runs.kinds.get(chain, chain)
    if kind == AS_YOU_TUNE:
        return _as_you_tune(runs, chain)
    if kind in ZEROING:
        return f"{_zeroed(runs, chain)}{_trained(runs, chain) if kind == 'prune_full' else ''}"
    if kind == "recover":
        return "trained further, zeros kept"
    return _removed(runs, chain) if kind in REMOVING else f"`{kind}`"


def _zeroed(runs: Runs, chain: str) -> str:
    """Which weights are set to zero, without how many."""
    structure, criterion, among = (runs.setting(chain, name) for name in ("structure", "criterion", "among"))
    single = structure == "unstructured"
    of_parts = ["with biases and head"] if runs.setting(chain, "parts") == "published" else []
    return ", ".join([*([among, "single weights"] if single else [structure]), criterion, *of_parts])


def _trained(runs: Runs, chain: str) -> str:
    """What is trained of a model that is pruned before it, or meanwhile."""
    what = "the head alone trained" if runs.setting(chain, "trained") == "head" else "fine-tuned"
    growth = runs.setting(chain, "growth")
    return f"; then {what}" if growth in (None, "once") else f"; more and more while {what} ({growth})"


def _as_you_tune(runs: Runs, chain: str) -> str:
    """How sparsity grew while LoRA was trained, and who taught."""
    what = "single weights" if runs.setting(chain, "structure") == "unstructured" else "columns"
    growth, taught = runs.setting(chain, "growth"), {NO_TEACHER: "no teacher", FIXED: "with a teacher"}
    when = "before LoRA was tuned" if growth == "once" else f"more and more while LoRA was tuned ({growth})"
    parts = [what, when, taught.get(teacher(runs, chain), "with a teacher that nothing trained")]
    mixed, stabilized = runs.setting(chain, "mix_corpus"), runs.setting(chain, "rank_stabilized")
    parts += [f"`{mixed}` mixed in"] if mixed else []
    parts += [] if stabilized in (None, True) else ["not rank-stabilized"]
    return ", ".join(parts)


def teacher(runs: Runs, chain: str) -> str:
    """Whom the last link learns from: `none`, `fixed` (a fine-tuned model) or `as published` (nothing trained it)."""
    if runs.setting(chain, "teacher_recipe") == AS_PUBLISHED:
        return "as published"
    return FIXED if runs.setting(chain, "teacher") else NO_TEACHER


def _removed(runs: Runs, chain: str) -> str:
    """`2 layers, 25 % of neurons removed`."""
    layers, neurons, heads = (runs.setting(chain, name) for name in ("layers", "neurons", "heads"))
    parts = []
    if layers is not None:
        count = len(str(layers).split(";"))
        parts.append(f"{count} layer{'' if count == 1 else 's'}")
    parts += [f"{100 * heads:g} % of heads"] if heads else []
    parts += [f"{100 * neurons:g} % of neurons"] if neurons else []
    return f"{', '.join(parts)} removed"
