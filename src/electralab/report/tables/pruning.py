"""Table `pruning`: what is lost where weights of a fine-tuned model are set to zero or structures are taken out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from electralab.report import footnotes
from electralab.report.grid import Column, Section, Table, difference_columns, frame, section, summary_columns
from electralab.report.pruning import MEASURED, Line, grouped, lines
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs
from electralab.report.statistics.differences import difference_text
from electralab.report.tables.score_cells import difference_cell, majority_scores, score_text
from electralab.report.text import ABSENT, count, listing, megabytes, named, number

MOST_SAID = 6  # chains whose differences an answer spells out


def table(results: Results) -> Table:
    """A section for every task and model; below every dense model the chains that are compared with it.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs = results.finetuned
    groups = lines(runs)
    every = [line for own in groups.values() for line in own]
    numbers = frame(every, _csv(runs))
    if not every:
        about = "No chain of this experiment prunes a model: there is nothing to compare."
        return Table("Pruning", about, numbers, footnotes.failed(runs))
    return Table(
        "Pruning",
        _about(runs, every),
        numbers,
        [*(_section(runs, *place, own) for place, own in groups.items()), *footnotes.failed(runs)],
        _notes(runs, every),
        [_answer(runs, *place, group) for place, own in groups.items() for group in grouped(own)],
    )


# --- grids ----------------------------------------------------------------------------------------------------------


def _section(runs: Runs, task: str, model: str, own: Sequence[Line]) -> Section:
    heading = f"{task}, {runs.title(model)} ({METRICS[runs.metric(task)]})"
    shown = section(heading, own, _columns(runs))
    for majority in majority_scores(runs, task, model, [line.cell for line in own]):
        shown = shown.plus({"Chain": majority.name, "Score": number(majority.score)})
    return shown


def _columns(runs: Runs) -> list[Column[Line]]:
    return [
        Column("", lambda line: line.chain, "Chain"),
        Column("", lambda line: line.words, "Method", left=True),
        Column("", _measured("sparsity.encoder"), "% zeros of encoder", _percent),
        Column("", _measured("sparsity.all"), "% zeros of all", _percent),
        Column("", lambda line: f"{score_text(line.score)}{footnotes.mark(runs, line.arm)}", "Score"),
        Column("", lambda line: line.minus_dense, "Minus dense", difference_cell),
        Column("", _agreement, "Agreement with parent", number),
        Column("", lambda line: line.bytes, "MB", megabytes),
        Column("", _measured("bytes_compressed"), "MB compressed", megabytes),
    ]


def _measured(metric: str) -> Callable[[Line], float | None]:
    return lambda line: line.measured[metric]


def _agreement(line: Line) -> float | None:
    """That of a dense model belongs to the page that compares it with its own parent."""
    return None if line.is_dense else line.measured["agreement_with_previous"]


def _percent(share: float | None) -> str:
    return ABSENT if share is None else number(100 * share, 1)


def _csv(runs: Runs) -> list[Column[Line]]:
    def setting(name: str) -> Column[Line]:
        return Column(name, lambda line: runs.setting(line.chain, name))

    return [
        Column("row", lambda line: runs.title(line.model)),
        Column("model", lambda line: line.model),
        Column("task", lambda line: line.cell.task),
        Column("method", lambda line: line.chain),
        Column("kinds", lambda line: "+".join(line.kinds)),
        Column("what", lambda line: line.words),
        Column("dense", lambda line: line.dense),
        *map(setting, ("criterion", "structure", "among", "parts", "layers", "neurons", "heads")),
        Column("asked_sparsity", lambda line: line.asked),
        Column("metric", lambda line: runs.metric(line.cell.task)),
        *summary_columns(lambda line: line.score),
        *difference_columns("minus_dense", lambda line: line.minus_dense),
        *(Column(metric, _measured(metric)) for metric in MEASURED),
        Column("bytes", lambda line: line.bytes),
    ]


# --- sentences ------------------------------------------------------------------------------------------------------


def _answer(runs: Runs, task: str, model: str, group: Sequence[Line]) -> str:
    """How far a dense model can be pruned without a difference shown, and which chains lose or gain."""
    start, dense = f"**{task}, {runs.title(model)}:**", group[0].dense
    if dense is None:
        chains = named([line.chain for line in group])
        return f"{start} no finished full fine-tuning to compare {chains} with."
    whole = next(line for line in group if line.is_dense)
    by_verdict: dict[str, list[Line]] = {}
    for line in group:
        if line.minus_dense:
            by_verdict.setdefault(line.minus_dense.verdict, []).append(line)
    if whole.score is None or not by_verdict:
        return f"{start} no finished run of `{dense}` and of a chain that prunes it."
    parts = [f"`{dense}` {score_text(whole.score)}"]
    if any(verdict != "unknown" for verdict in by_verdict):
        parts += _furthest(by_verdict.get("unclear", []), "with no difference shown")
    if unknown := by_verdict.get("unknown"):
        parts += ["one common seed gives no verdict", *_furthest(unknown, "of those")]
    parts += [
        f"{said}: {_said_together(by_verdict[verdict])}"
        for verdict, said in (("lower", "worse"), ("higher", "better"))
        if verdict in by_verdict
    ]
    return f"{start} {'; '.join(parts)}. Differences are to `{dense}`."


def _furthest(found: Sequence[Line], which: str) -> list[str]:
    """The sparsest of some chains, and of those that take structures out the one with the fewest parameters left."""
    sparse = [line for line in found if line.zeroes and line.sparsity is not None]
    small = [line for line in found if line.removes and line.measured["nonzero_parameters"]]
    parts = []
    if sparse:
        most = max(line.sparsity or 0.0 for line in sparse)
        alike = [line for line in sparse if _percent(line.sparsity) == _percent(most)]
        share = f"{_percent(most)} % of the encoder's weights zero"
        parts.append(f"sparsest {which}, {share}: {_said_together(alike)}")
    if small:
        least = min(small, key=lambda line: line.measured["nonzero_parameters"] or 0.0)
        left = count(least.measured["nonzero_parameters"])
        parts.append(f"fewest parameters by removal {which}: {_said(least)}, {left} left")
    return parts or [f"nothing pruned or removed {which}"]


def _said(line: Line) -> str:
    return f"`{line.chain}` {difference_text(line.minus_dense)}"


def _said_together(found: Sequence[Line]) -> str:
    """With their differences, as long as a reader can follow."""
    if len(found) > MOST_SAID:
        return f"{len(found)} chains, {named([line.chain for line in found])}"
    return listing([_said(line) for line in found])


def _about(runs: Runs, every: Sequence[Line]) -> str:
    return (
        f"{footnotes.measured(runs.rows_of(line.arm for line in every), 'runs')} Scores: mean over seeds, in brackets "
        "its 95 % interval (Student t), n seeds; one seed has no interval. `Minus dense`: the difference to the model "
        "at the top of the group, on the seeds and rows that both have; its 95 % interval covers both. Agreement: the "
        "share of validation rows that are answered as the link before answered them; zeros and agreement are means "
        f"over seeds.{footnotes.sampling(runs, [line.arm for line in every])}"
    )


def _notes(runs: Runs, every: Sequence[Line]) -> list[str]:
    return [
        "`% zeros of encoder`: of the weights of the encoder's dense layers; `% zeros of all`: of all parameters, "
        "embeddings too. Structures that were removed are not zeros: they are in neither number. A zero saves neither "
        "bytes nor time in a file that stores every weight; `MB compressed` is the same file after zlib. MB are "
        "1,000,000 bytes.",
        *_published(every),
        footnotes.no_difference(line.minus_dense for line in every),
        *footnotes.marked(runs, [line.arm for line in every]),
    ]


def _published(every: Sequence[Line]) -> list[str]:
    """What a published number of pruning is a number of."""
    if not any(line.zeroes for line in every):
        return []
    return [
        "The published study (efficient ELECTRA) pruned before fine-tuning, with biases and head among what it set to "
        "zero (here kind `prune_full` with `parts: published`): its sparsity is of those, not of the encoder's weights."
    ]
