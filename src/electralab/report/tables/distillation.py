"""Table `distillation`: what a student keeps of its teacher, and what the teacher is worth to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from electralab.names import chain_links, chain_name
from electralab.report import footnotes
from electralab.report.compression import beginnings, distilled
from electralab.report.grid import Column, Section, Table, difference_columns, frame, section, summary_columns
from electralab.report.results import Results
from electralab.report.runs import METRICS, Arm, Cell, Runs
from electralab.report.statistics.comparisons import Arm as ComparedArm
from electralab.report.statistics.differences import Difference, difference_text
from electralab.report.statistics.intervals import Summary, summarize
from electralab.report.tables.score_cells import difference_cell, majority_scores, score_text
from electralab.report.text import count, listing, megabytes, number

# Options of how a student is taught, not of what it is or how it is trained.
LOSSES = ("distillation_alpha", "temperature", "hidden_weight", "layer_map")
TEACHER = ("teacher", "teacher_model")
OWNERS = {"teacher": "the teacher", "pretrained": "the pretrained model", "generator": "the generator"}
VERDICTS = {
    "higher": "better",
    "lower": "worse",
    "unclear": "no difference shown",
    "unknown": "one common seed gives no verdict",
}


@dataclass(frozen=True)
class Line:
    """A teacher, or a chain that begins with its student; `score` is None where no run is finished.

    `alone` is the same student under labels alone, followed by the same links.
    """

    model: str
    cell: Cell
    student: str  # in words; empty of a teacher
    taught: str
    alone: str | None
    teacher: ComparedArm | None
    score: Summary | None
    minus_alone: Difference | None
    minus_teacher: Difference | None
    parameters: float | None
    bytes: float | None  # of the files of weights

    @property
    def chain(self) -> str:
        """Its name."""
        return self.cell.method

    @property
    def arm(self) -> Arm:
        """Task and chain, and the model."""
        return self.cell, self.model


def table(results: Results) -> Table:
    """A section for every task and model: its teachers, then their students.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs = results.finetuned
    groups = lines(runs)
    every = [line for own in groups.values() for line in own]
    numbers = frame(every, _csv(runs))
    if not every:
        about = "No chain of this experiment trains a student: there is nothing to compare."
        return Table("Distillation", about, numbers, footnotes.failed(runs))
    return Table(
        "Distillation",
        _about(runs, every),
        numbers,
        [*(_section(runs, *place, own) for place, own in groups.items()), *footnotes.failed(runs)],
        _notes(runs, every),
        [_answer(runs, *place, own) for place, own in groups.items()],
    )


def lines(runs: Runs) -> dict[tuple[str, str], list[Line]]:
    """Of every task and model with a student: teachers first, then chains by student."""
    wanted = distilled(runs)
    asked = set(zip(runs.frame["task"], runs.frame["model"], runs.frame["method"]))
    found: dict[tuple[str, str], list[Line]] = {}
    for task in dict.fromkeys(cell.task for cell in runs.cells):
        for model in runs.finetuned_models:
            chains = [chain for chain in runs.kinds if chain in wanted and (task, model, chain) in asked]
            teachers = dict.fromkeys(arm for chain in chains if (arm := _teacher(runs, model, chain)))
            only = next(iter(teachers)) if len(teachers) == 1 else None
            own = [_line(runs, task, arm.model, arm.method, "", "", None, None) for arm in teachers]
            students = [
                _line(
                    *(runs, task, model, chain, _student(runs, chain), _taught(runs, chain)),
                    *(_alone(runs, chain, chains), _teacher(runs, model, chain) or only),
                )
                for chain in chains
            ]
            if chains:
                found[task, model] = own + sorted(students, key=lambda line: _place(runs, line))
    return found


def _place(runs: Runs, line: Line) -> tuple[Any, ...]:
    """By student, drawn ones last; each first alone, then by what teaches it; links that follow go below."""
    first, *more = chain_links(line.chain)
    told = runs.settings(first)
    taught = [float(told.get(name) or 0.0) for name in ("hidden_weight", "distillation_alpha")]
    place = [*OWNERS, "random"].index(str(told.get("student.start")))
    return place, _of_student(runs, first), *taught, first, len(more), more


def _line(
    runs: Runs,
    task: str,
    model: str,
    chain: str,
    student: str,
    taught: str,
    alone: str | None,
    teacher: ComparedArm | None,
) -> Line:
    cell, own = Cell(task, chain), ComparedArm(model, chain)
    by_seed = runs.by_seed(cell, model)
    return Line(
        *(model, cell, student, taught, alone, teacher),
        score=summarize(list(by_seed.values())) if by_seed else None,
        minus_alone=runs.difference(task, own, ComparedArm(model, alone)) if alone else None,
        minus_teacher=runs.difference(task, own, teacher) if teacher else None,
        parameters=runs.typical(cell, model, "parameters.total") or None,
        bytes=runs.typical(cell, model, "cost.bytes_on_disk") or None,
    )


# --- students -------------------------------------------------------------------------------------------------------


def _teacher(runs: Runs, model: str, chain: str) -> ComparedArm | None:
    """The run that taught the student that a chain begins with, or gave it layers."""
    told = runs.settings(chain_links(chain)[0])
    links = told.get("teacher")
    return ComparedArm(str(told.get("teacher_model") or model), chain_name(str(links).split(";"))) if links else None


def _of_student(runs: Runs, method: str) -> str:
    """All that two students must share to differ in their teaching alone, as a text."""
    told = runs.settings(method)
    others = LOSSES if told.get("student.start") == "teacher" else (*LOSSES, *TEACHER)
    return str(sorted((name, str(value)) for name, value in told.items() if name not in others))


def _is_alone(runs: Runs, method: str) -> bool:
    return not any(runs.setting(method, name) for name in ("distillation_alpha", "hidden_weight"))


def _alone(runs: Runs, chain: str, chains: Sequence[str]) -> str | None:
    """The chain of the same student under labels alone, with the same links after it."""
    first, *more = chain_links(chain)
    if _is_alone(runs, first):
        return None
    same = (
        other
        for other in chains
        if chain_links(other)[1:] == more
        and _is_alone(runs, chain_links(other)[0])
        and _of_student(runs, chain_links(other)[0]) == _of_student(runs, first)
    )
    return next(same, None)


def _student(runs: Runs, chain: str) -> str:
    """`layers 0, 2, 4 of the teacher, 768 neurons; then dynamic_int8`."""
    first, *more = beginnings(chain)
    told = runs.settings(first)
    if told.get("student.start") == "random":
        depth, width = (count(told.get(f"student.shape.{name}")) for name in ("layers", "hidden_size"))
        what = f"drawn: {depth} layers, {width} wide"
    else:
        layers = ", ".join(str(told.get("student.layers")).split(";"))
        what = f"layers {layers} of {OWNERS.get(str(told.get('student.start')), 'a model')}"
        neurons = told.get("student.intermediate_size")
        what += f", {count(neurons)} neurons" if neurons else ""
    return "; then ".join([what, *(f"`{runs.kinds.get(link, link)}`" for link in more)])


def _taught(runs: Runs, chain: str) -> str:
    """`labels, logits (0.5, T 2), hidden states (1)`."""
    told = runs.settings(chain_links(chain)[0])
    alpha, hidden = (float(told.get(name) or 0.0) for name in ("distillation_alpha", "hidden_weight"))
    parts = ["labels"] if alpha < 1 else []
    parts += [f"logits ({alpha:g}, T {float(told.get('temperature') or 1.0):g})"] if alpha else []
    parts += [f"hidden states ({hidden:g})"] if hidden else []
    return ", ".join(parts)


# --- grids ----------------------------------------------------------------------------------------------------------


def _section(runs: Runs, task: str, model: str, own: Sequence[Line]) -> Section:
    heading = f"{task}, {runs.title(model)} ({METRICS[runs.metric(task)]})"
    columns: list[Column[Line]] = [
        Column("", lambda line: line.chain if line.model == model else f"{line.chain} of {line.model}", "Chain"),
        Column("", lambda line: line.student or "the teacher", "Student", left=True),
        Column("", lambda line: line.taught or "labels", "Learns from", left=True),
        Column("", lambda line: f"{score_text(line.score)}{footnotes.mark(runs, line.arm)}", "Score"),
        Column("", lambda line: line.minus_alone, "Minus alone", difference_cell),
        Column("", lambda line: line.minus_teacher, "Minus teacher", difference_cell),
        Column("", lambda line: line.parameters, "Parameters", count),
        Column("", lambda line: line.bytes, "MB", megabytes),
    ]
    shown = section(heading, own, columns)
    for majority in majority_scores(runs, task, model, [line.cell for line in own if line.model == model]):
        shown = shown.plus({"Chain": majority.name, "Score": number(majority.score)})
    return shown


def _csv(runs: Runs) -> list[Column[Line]]:
    return [
        Column("row", lambda line: runs.title(line.model) if line.model in runs.finetuned_models else line.model),
        Column("model", lambda line: line.model),
        Column("task", lambda line: line.cell.task),
        Column("method", lambda line: line.chain),
        Column("student", lambda line: line.student),
        Column("learns_from", lambda line: line.taught),
        Column("alone", lambda line: line.alone),
        Column("teacher_model", lambda line: line.teacher.model if line.teacher else None),
        Column("teacher", lambda line: line.teacher.method if line.teacher else None),
        Column("metric", lambda line: runs.metric(line.cell.task)),
        *summary_columns(lambda line: line.score),
        *difference_columns("minus_alone", lambda line: line.minus_alone),
        *difference_columns("minus_teacher", lambda line: line.minus_teacher),
        Column("parameters", lambda line: line.parameters),
        Column("bytes", lambda line: line.bytes),
    ]


# --- sentences ------------------------------------------------------------------------------------------------------


def _answer(runs: Runs, task: str, model: str, own: Sequence[Line]) -> str:
    """What being taught is worth to a student, and how far students are from their teachers."""
    start = f"**{task}, {runs.title(model)}:**"
    plain = [line for line in own if line.student and len(chain_links(line.chain)) == 1]
    parts = [
        f"{about}: {said}"
        for about, said in (
            ("taught, against the same student alone", _by_verdict(plain, "minus_alone")),
            ("Against the teacher", _by_verdict(plain, "minus_teacher")),
        )
        if said
    ]
    return f"{start} {'. '.join(parts) or 'no finished student beside a teacher or itself alone'}."


def _by_verdict(found: Sequence[Line], name: str) -> str:
    parts = []
    for verdict, said in VERDICTS.items():
        those = [(line, own) for line in found if (own := getattr(line, name)) and own.verdict == verdict]
        if those:
            parts.append(f"{said}: {listing([f'`{line.chain}` {difference_text(own)}' for line, own in those])}")
    return "; ".join(parts)


def _about(runs: Runs, every: Sequence[Line]) -> str:
    return (
        f"{footnotes.measured(runs.rows_of(line.arm for line in every), 'runs')} Scores: mean over seeds, in brackets "
        "its 95 % interval (Student t), n seeds; one seed has no interval. `Minus alone`: the difference to the same "
        "student trained the same way on labels alone, of this experiment, with the same links after it; `Minus "
        "teacher`: to its teacher. Both are on the seeds and rows that both have, and their 95 % intervals cover both."
        f"{footnotes.sampling(runs, [line.arm for line in every])}"
    )


def _notes(runs: Runs, every: Sequence[Line]) -> list[str]:
    return [
        "Logits: weight of the teacher's beside the labels', and temperature; hidden states: weight of the squared "
        "distance to the teacher's. MB are 1,000,000 bytes.",
        *_no_teacher(every),
        footnotes.no_difference(own for line in every for own in (line.minus_alone, line.minus_teacher)),
        *footnotes.marked(runs, [line.arm for line in every if line.score]),
    ]


def _no_teacher(every: Sequence[Line]) -> list[str]:
    """Teachers that the experiment does not list among its runs."""
    missing = sorted({line.chain for line in every if not line.student and line.score is None})
    if not missing:
        return []
    return [
        f"No finished run of the teacher {listing([f'`{chain}`' for chain in missing])} is among this experiment's: "
        "list it among its methods to have its score here."
    ]
