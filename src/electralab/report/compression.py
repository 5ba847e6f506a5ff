"""Chains that make a fine-tuned model smaller, each beside the link before it and the model that it began with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean

from electralab.catalogue import DISTILLATION, PRUNING, STORED_SMALLER
from electralab.config.methods.chains import compressing_kinds
from electralab.names import chain_links, chain_name
from electralab.report.runs import FULL, Arm, Cell, Runs
from electralab.report.statistics.comparisons import Arm as ComparedArm
from electralab.report.statistics.differences import Difference
from electralab.report.statistics.intervals import Summary, summarize
from electralab.weight_bytes import PARTS as WEIGHT_PARTS

PARTS = (*WEIGHT_PARTS, "tokenizer")  # in `bytes.<part>`


@dataclass(frozen=True)
class Line:
    """A chain on a task with a model; `score` is None where no run is finished.

    `whole` is the chain before anything made it smaller, which stands first in its group: there `chain == whole`.
    `parent` is the link before.
    """

    model: str
    cell: Cell
    kind: str
    whole: str
    parent: str | None
    score: Summary | None
    minus_parent: Difference | None
    minus_whole: Difference | None
    bytes: float | None  # of the files of weights
    share: float | None  # of those of `whole`
    by_part: dict[str, float | None]

    @property
    def chain(self) -> str:
        """Its name."""
        return self.cell.method

    @property
    def arm(self) -> Arm:
        """Task and chain, and the model."""
        return self.cell, self.model


def compressed(runs: Runs) -> frozenset[str]:
    """Chains whose last link makes a model smaller."""
    kinds = compressing_kinds()
    return frozenset(chain for chain, kind in runs.kinds.items() if kind in kinds)


def stored_smaller(runs: Runs) -> frozenset[str]:
    """Chains with a link that stores weights in fewer bits, or fewer of them; pruning alone leaves as many."""
    return _with_link(runs, STORED_SMALLER)


def pruned(runs: Runs) -> frozenset[str]:
    """Chains with a link that sets weights to zero, keeps them there, or takes structures out."""
    return _with_link(runs, PRUNING)


def distilled(runs: Runs) -> frozenset[str]:
    """Chains with a student."""
    return _with_link(runs, DISTILLATION)


def _with_link(runs: Runs, kinds: Collection[str]) -> frozenset[str]:
    return frozenset(chain for chain in runs.kinds if any(kind in kinds for kind in link_kinds(runs, chain)))


def beginnings(chain: str) -> list[str]:
    """`full+prune+half` -> `full`, `full+prune`, `full+prune+half`: each is a run of its own."""
    links = chain_links(chain)
    return [chain_name(links[: length + 1]) for length in range(len(links))]


def link_kinds(runs: Runs, chain: str) -> list[str]:
    """The kind of each link, whatever the config calls it."""
    return [runs.kinds.get(beginning, beginning) for beginning in beginnings(chain)]


def chain_kind(runs: Runs, chain: str) -> str:
    """The kinds of its links, joined by `+`: `full+static_int8`."""
    return "+".join(link_kinds(runs, chain))


def lines(runs: Runs) -> dict[tuple[str, str], list[Line]]:
    """Of every task and model with weights stored smaller: each uncompressed chain, then those that go on from it."""
    small, shown_here = compressed(runs), stored_smaller(runs)
    asked = set(zip(runs.frame["task"], runs.frame["model"], runs.frame["method"]))
    found: dict[tuple[str, str], list[Line]] = {}
    for task in dict.fromkeys(cell.task for cell in runs.cells):
        for model in runs.finetuned_models:
            own = sorted((chain for chain in shown_here if (task, model, chain) in asked), key=chain_links)
            groups: dict[str, list[str]] = {}
            for chain in own:
                groups.setdefault(_whole(runs, task, model, chain, small), []).append(chain)
            for whole, chains in sorted(groups.items()):
                shown = dict.fromkeys([whole, *chains])
                found.setdefault((task, model), []).extend(_line(runs, task, model, chain, whole) for chain in shown)
    return found


def _whole(runs: Runs, task: str, model: str, chain: str, small: frozenset[str]) -> str:
    """The longest beginning that nothing made smaller; of a chain without one, a full fine-tuning, else itself."""
    links = chain_links(chain)
    for length in range(len(links) - 1, 0, -1):
        if small.isdisjoint(begun := beginnings(chain)[:length]):
            return begun[-1]
    full = [name for name, kind in runs.kinds.items() if kind == FULL and runs.by_seed(Cell(task, name), model)]
    return FULL if FULL in full else full[0] if full else chain


def _line(runs: Runs, task: str, model: str, chain: str, whole: str) -> Line:
    cell, links = Cell(task, chain), chain_links(chain)
    parent = None if chain == whole else chain_name(links[:-1]) if len(links) > 1 else whole
    by_seed = runs.by_seed(cell, model)
    size, of_whole = (_bytes(runs, Cell(task, name), model) for name in (chain, whole))
    return Line(
        model,
        cell,
        runs.kinds.get(chain, ""),
        whole,
        parent,
        summarize(list(by_seed.values())) if by_seed else None,
        _difference(runs, task, model, chain, parent),
        _difference(runs, task, model, chain, None if chain == whole else whole),
        size,
        size / of_whole if size and of_whole else None,
        {part: runs.typical(cell, model, f"metric.bytes.{part}") for part in PARTS},
    )


def _difference(runs: Runs, task: str, model: str, chain: str, other: str | None) -> Difference | None:
    return None if other is None else runs.difference(task, ComparedArm(model, chain), ComparedArm(model, other))


def _bytes(runs: Runs, cell: Cell, model: str) -> float | None:
    """Bytes of the files of weights; None of a run that kept none."""
    return runs.typical(cell, model, "cost.bytes_on_disk") or None


def mean(runs: Runs, line: Line, metric: str) -> float | None:
    """A metric's mean over seeds."""
    values = list(runs.by_seed(line.cell, line.model, metric).values())
    return fmean(values) if values else None


def several_links(every: Sequence[Line]) -> bool:
    """Whether a chain has more than one link that makes it smaller, so that its parent is not the whole model."""
    return any(line.parent not in (None, line.whole) for line in every)
