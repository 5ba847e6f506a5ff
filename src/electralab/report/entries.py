"""A method on a task with a model: its score, what it trains, stores and costs, beside full fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real

from electralab.report.compression import compressed, distilled, pruned
from electralab.report.learning_rates import learning_rates
from electralab.report.protocols import protocol_methods
from electralab.report.rank_alpha import grid_methods
from electralab.report.runs import FULL, Cell, Runs
from electralab.report.statistics.comparisons import Arm
from electralab.report.statistics.differences import Difference
from electralab.report.statistics.intervals import Summary, summarize, wilson_interval

KINDS = (
    *(FULL, "linear_probe", "lora", "rslora", "dora", "qlora", "adalora"),
    *("prefix", "prompt", "ia3", "loha", "lokr", "oft", "in_context", "merge"),
)
IN_CONTEXT = "in_context"
AS_PUBLISHED = "as_published"
OPTIONS = ("rank", "alpha", "targets", "storage", "virtual_tokens", "block_size", "shots")
# Columns of the CSV and the columns of `runs.csv` that fill them: the first that is filled.
MEASURED = {
    "trainable_parameters": ("metric.trainable_parameters", "parameters.trainable"),
    "head_parameters": ("metric.head_parameters", "parameters.head"),
    "base_parameters": ("metric.base_parameters", "parameters.total"),
    "adapter_bytes": ("metric.adapter_bytes",),
    "weights_bytes": ("metric.weights_bytes",),
    "train_seconds": ("metric.train_seconds",),
    "cpu_seconds": ("cost.cpu_seconds",),
    "peak_rss_bytes": ("cost.peak_rss_bytes",),
    "peak_gpu_bytes": ("cost.peak_gpu_bytes",),
    "inference_seconds": ("metric.inference_seconds",),
    "inference_seconds_unmerged": ("metric.inference_seconds_unmerged",),
    "inference_seconds_merged": ("metric.inference_seconds_merged",),
    "merge_error": ("metric.merge_error",),
}


@dataclass(frozen=True)
class Entry:
    """One method on one task with one model; `score` is None where no run is finished.

    Methods of one kind and the same `options` differ in their recipe alone, or in how they are trained.
    """

    model: str
    cell: Cell
    kind: str
    options: str
    recipe: str
    score: Summary | None
    over_rows: tuple[float, float] | None  # 95 % interval of the mean accuracy over rows like those scored
    reference: str | None
    difference: Difference | None
    costs: dict[str, float | None]

    @property
    def arm(self) -> tuple[Cell, str]:
        """Task and method, and the model."""
        return self.cell, self.model

    @property
    def without_head(self) -> float | None:
        """Trained parameters that are not the head's."""
        trained, head = self.costs["trainable_parameters"], self.costs["head_parameters"]
        return None if trained is None or head is None else trained - head

    @property
    def trainable_share(self) -> float | None:
        """Trained parameters, the head's included, over all parameters of the model."""
        trained, base = self.costs["trainable_parameters"], self.costs["base_parameters"]
        return None if trained is None or not base else trained / base

    @property
    def stored_bytes(self) -> float | None:
        """Bytes of all weights as they are stored."""
        return stored_bytes(self.costs["weights_bytes"], self.costs["trainable_parameters"], self.kind)


def entries(runs: Runs) -> list[Entry]:
    """Every method of the tasks and models that have more than full fine-tuning.

    Those of grids, those that stand beside themselves with other learning rates, and chains that prune, distil or
    make a model smaller have tables of their own.
    """
    of_grids, of_protocols = (
        {*grid_methods(runs), *compressed(runs), *pruned(runs), *distilled(runs)},
        protocol_methods(runs),
    )
    asked = set(zip(runs.frame["model"], runs.frame["task"], runs.frame["method"]))
    found = []
    for task in dict.fromkeys(cell.task for cell in runs.cells):
        for model in runs.finetuned_models:
            methods = [m for m in runs.kinds if (model, task, m) in asked and m not in of_grids]
            others = [m for m in methods if (model, task, m) not in of_protocols]
            if any(runs.kinds[method] != FULL for method in others):
                methods = others
            if any(runs.kinds[method] != FULL for method in methods):
                full = reference(runs, task, model, methods)
                ordered = sorted(methods, key=lambda method: method_order(runs, method))
                found += [_entry(runs, model, Cell(task, method), full) for method in ordered]
    return found


def grouped(every: Sequence[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """Entries by task and model."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in every:
        groups.setdefault((entry.cell.task, entry.model), []).append(entry)
    return groups


def method_order(runs: Runs, method: str) -> tuple[int, str, bool]:
    """Methods by kind; two recipes with the same options side by side, the fixed one first."""
    kind = runs.kinds[method]
    place = KINDS.index(kind) if kind in KINDS else len(KINDS)
    return place, _options(runs, method), runs.setting(method, "recipe") == AS_PUBLISHED


def stored_bytes(frozen: float | None, trained: float | None, kind: str) -> float | None:
    """Bytes of the frozen weights as they are stored, and of what is trained, in fp32. None: not known."""
    if trained is None or (frozen is None and kind != FULL):
        return None
    return (frozen or 0.0) + 4 * trained


def cost(name: str) -> Callable[[Entry], float | None]:
    """Reads one of `MEASURED`."""
    return lambda entry: entry.costs[name]


def reference(runs: Runs, task: str, model: str, methods: Sequence[str]) -> Cell | None:
    """What the others are compared with: the method called `full`, or the first that trains everything."""
    full = [m for m in methods if runs.kinds[m] == FULL and runs.by_seed(Cell(task, m), model)]
    return Cell(task, FULL if FULL in full else full[0]) if full else None


def _options(runs: Runs, method: str) -> str:
    """A text that sorts methods of one kind by their options."""
    values = [runs.setting(method, name) for name in (*OPTIONS, "initial_rank", "target_rank")]
    return " ".join(f"{float(value):012.4f}" if isinstance(value, Real) else str(value or "-") for value in values)


def _entry(runs: Runs, model: str, cell: Cell, full: Cell | None) -> Entry:
    by_seed = runs.by_seed(cell, model)
    compared = full if full != cell else None
    arms = [Arm(model, one.method) for one in (cell, compared) if one]
    difference = runs.difference(cell.task, *arms) if compared else None
    return Entry(
        model,
        cell,
        runs.kinds[cell.method],
        _options(runs, cell.method),
        str(runs.setting(cell.method, "recipe") or ""),
        summarize(list(by_seed.values())) if by_seed else None,
        _over_rows(runs, model, cell),
        compared.method if compared else None,
        difference,
        _costs(runs, model, cell),
    )


def _costs(runs: Runs, model: str, cell: Cell) -> dict[str, float | None]:
    costs = {name: runs.typical(cell, model, *columns) for name, columns in MEASURED.items()}
    # A run reports the seconds of the rate that it kept; every rate takes the same steps over the same rows.
    kept, rates = costs["train_seconds"], len(learning_rates(runs, cell.method))
    return costs | {"train_seconds": None if kept is None else kept * max(rates, 1)}


def _over_rows(runs: Runs, model: str, cell: Cell) -> tuple[float, float] | None:
    """Wilson's interval of an accuracy; None for other metrics."""
    values, rows = list(runs.by_seed(cell, model).values()), runs.typical(cell, model, "metric.validation_rows")
    if runs.metric(cell.task) != "accuracy" or not values or not rows:
        return None
    return wilson_interval(sum(values) / len(values), int(rows))
