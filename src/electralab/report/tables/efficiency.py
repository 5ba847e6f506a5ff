"""Table `efficiency`: what a score cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from electralab.report import footnotes
from electralab.report.grid import Column, Table, frame, section, summary_columns
from electralab.report.results import Results
from electralab.report.runs import METRICS, Cell, Runs
from electralab.report.statistics.intervals import Summary, summarize
from electralab.report.text import count, divided, duration, listing, with_interval

PETAFLOP_S_DAY = 1e15 * 86_400
# Below this, petaflop/s-days need more zeros than anyone counts: teraFLOPs are shown instead.
SMALL = PETAFLOP_S_DAY / 100
CONVENTIONS = ("electra_paper", "matmul_3x")
PARAMETERS = ("discriminator", "discriminator_backbone", "generator", "total")
SECONDS = ("wall_seconds", "cpu_seconds", "gpu_seconds")
BYTES = ("peak_rss_bytes", "peak_gpu_bytes")


class Line(NamedTuple):
    """A model with the cost of one pretraining, none for one that was never pretrained."""

    label: str
    model: str
    control: bool
    cost: Mapping[str, Any]


class Scored(NamedTuple):
    """A line with its mean score over some tasks; `score` is None where a task is missing."""

    line: Line
    method: str
    tasks: Sequence[str]
    score: Summary | None


def table(results: Results) -> Table:
    """What a score cost: parameters, time, hardware, FLOPs in two named conventions.

    Raises:
        UserError: the experiment has no pretraining.
    """
    runs = results.pretrained
    methods = _score_sets(runs)
    lines = [_line(runs, model) for model in runs.models]
    free = [Line(runs.title(model), model, True, {}) for model in runs.random_models]
    scored = [
        Scored(line, method, tasks, _mean_score(runs, line.model, method, tasks))
        for line in [*lines, *(free if methods else [])]
        for method, tasks in methods.items() or [("", [])]
    ]
    sections = [section("Cost of one pretraining", lines, _cost_columns(lines))]
    if methods:
        sections.append(section("Score", [line for line in scored if line.score], SCORE))
    return Table(
        "Efficiency",
        f"{footnotes.measured(runs.pretrained, 'pretrainings')} Cost: mean over seeds of one pretraining, without "
        f"fine-tuning. {_score_about(runs, methods)}",
        frame(scored, CSV),
        [*sections, *footnotes.failed(runs)],
        [*_notes(runs, methods), footnotes.extensions(runs)],
        _answer(lines),
    )


def _line(runs: Runs, model: str) -> Line:
    own = runs.pretrained[runs.pretrained["model"] == model]
    first = own.iloc[0]
    cost: dict[str, Any] = {name: first[name] for name in ("generator_size", "extensions", "recipe")}
    cost |= {f"parameters.{name}": first.get(f"parameters.{name}") for name in PARAMETERS}
    cost |= {name: own[f"cost.{name}"].mean() for name in ("tokens", *SECONDS, *BYTES)}
    cost |= {name: first[f"provenance.{name}"] for name in ("device", "machine", "threads")}
    for name in CONVENTIONS:
        flops = own[f"flops.{name}"].mean() if f"flops.{name}" in own else None
        cost[f"flops.{name}"] = flops
        cost[f"petaflop_s_days.{name}"] = None if flops is None else flops / PETAFLOP_S_DAY
    return Line(runs.title(model), model, runs.is_control(model), cost | {"pretrainings": len(own)})


def _score_sets(runs: Runs) -> dict[str, list[str]]:
    """The human-labelled tasks behind the score, by method: a mean never mixes methods or synthetic labels."""
    found: dict[str, list[str]] = {}
    for cell in runs.pretrained_cells:
        if not runs.is_synthetic(cell.task):
            found.setdefault(cell.method, []).append(cell.task)
    return found


def _mean_score(runs: Runs, model: str, method: str, tasks: Sequence[str]) -> Summary | None:
    """Mean score over the tasks for each seed that finished all of them, summarised over seeds."""
    by_task = [runs.by_seed(Cell(task, method), model) for task in tasks]
    seeds = set.intersection(*map(set, by_task)) if by_task else set()
    values = [sum(of[seed] for of in by_task) / len(by_task) for seed in sorted(seeds)]
    return summarize(values) if values else None


# --- columns --------------------------------------------------------------------------------------------------------


def _cost(name: str) -> Callable[[Line], Any]:
    return lambda line: line.cost.get(name)


def _cost_columns(lines: Sequence[Line]) -> list[Column[Line]]:
    most = max((line.cost["flops.electra_paper"] or 0.0 for line in lines), default=0.0)
    unit, written = ("TFLOP", divided(1e12, 1)) if most < SMALL else ("pfs-days", divided(PETAFLOP_S_DAY, 3))
    return [
        Column("", lambda line: line.label, "Model"),
        Column("", _cost("parameters.discriminator"), "Discriminator parameters", count),
        Column("", _cost("parameters.generator"), "Generator parameters", count),
        Column("", _cost("parameters.total"), "Together (tied once)", count),
        Column("", _cost("tokens"), "Tokens", count),
        Column("", _cost("cpu_seconds"), "CPU time", duration),
        Column("", _cost("wall_seconds"), "Wall time", duration),
        *(Column("", _cost(f"flops.{name}"), f"{unit} ({name})", written) for name in CONVENTIONS),
    ]


SCORE: list[Column[Scored]] = [
    Column("", lambda row: row.line.label, "Model"),
    Column("", lambda row: row.method, "Method", left=True),
    Column("", lambda row: row.score, "Score", with_interval),
]


def _cost_in_csv(name: str) -> Column[Scored]:
    return Column(name, lambda row: row.line.cost.get(name))


CSV: list[Column[Scored]] = [
    Column("row", lambda row: row.line.label),
    Column("model", lambda row: row.line.model),
    Column("control", lambda row: row.line.control),
    *map(_cost_in_csv, ("generator_size", "extensions", "recipe", "pretrainings")),
    *(_cost_in_csv(f"parameters.{name}") for name in PARAMETERS),
    *map(_cost_in_csv, ("tokens", *SECONDS, *BYTES, "device", "machine", "threads")),
    *(_cost_in_csv(f"{unit}.{name}") for unit in ("flops", "petaflop_s_days") for name in CONVENTIONS),
    Column("method", lambda row: row.method),
    Column("score_tasks", lambda row: ";".join(row.tasks)),
    *summary_columns(lambda row: row.score),
]


# --- sentences ------------------------------------------------------------------------------------------------------


def _answer(lines: Sequence[Line]) -> list[str]:
    """The cheapest and the dearest pretraining."""
    known = [line for line in lines if line.cost["flops.electra_paper"]]
    if not known:
        return []
    cheap, dear = (choose(known, key=lambda line: line.cost["flops.electra_paper"]) for choose in (min, max))
    ratio = dear.cost["flops.electra_paper"] / cheap.cost["flops.electra_paper"]
    return [
        f"{cheap.label} takes the fewest FLOPs ({duration(cheap.cost['cpu_seconds'])} of CPU time), {dear.label} "
        f"{ratio:.2f} times as many ({duration(dear.cost['cpu_seconds'])}), by `electra_paper`."
        if len(known) > 1
        else f"{cheap.label}: {duration(cheap.cost['cpu_seconds'])} of CPU time."
    ]


def _score_about(runs: Runs, methods: Mapping[str, list[str]]) -> str:
    if not methods:
        return "No human-labelled task was fine-tuned in this experiment, so there is no score."
    named = {task: _with_metric(task, runs.metric(task)) for tasks in methods.values() for task in tasks}
    sets = "; ".join(f"`{method}`: {listing([named[task] for task in tasks])}" for method, tasks in methods.items())
    return (
        "The score is the mean of the validation scores (accuracy, or the metric named) over the human-labelled tasks "
        "fine-tuned with a method "
        f"({sets}), with the 95 % interval over fine-tuning seeds (Student t, each model by itself); "
        f"synthetic tasks are not in it.{footnotes.overlap(runs.finetuned)}"
    )


def _with_metric(task: str, metric: str) -> str:
    return task if metric == "accuracy" else f"{task} ({METRICS[metric]})"


def _notes(runs: Runs, methods: Mapping[str, list[str]]) -> list[str]:
    notes = [
        "FLOPs are counted, not measured, in two conventions: `electra_paper` (that of google-research/electra) and "
        "`matmul_3x` (matrix products only, backward twice forward). One petaflop/s-day (pfs-day) is 8.64e19 FLOPs."
    ]
    unscored = []
    for method, tasks in methods.items():
        every = [*runs.models, *runs.random_models]
        without = [model for model in every if _mean_score(runs, model, method, tasks) is None]
        if without:
            names = listing([runs.title(model) for model in without])
            unscored.append(f"No score with `{method}` for {names}: no seed finished all of {listing(tasks)}.")
    notes += footnotes.together(unscored)
    own = runs.pretrained
    gpus = own["provenance.gpu"] if "provenance.gpu" in own else own["provenance.device"]
    devices = gpus.where(gpus.notna(), own["provenance.device"])  # records of CPUs name no GPU
    hardware = [f"{device} of {machine}" for device, machine in zip(devices, own["provenance.machine"])]
    notes.append(
        "Wall time depends on the machine and its load, CPU time less so; hardware: "
        f"{listing(list(dict.fromkeys(hardware)))}."
    )
    return notes
