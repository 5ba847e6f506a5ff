"""Table `prune_as_you_tune`: pruning while a LoRA is tuned, beside pruning before it, afterwards, and without LoRA."""

from __future__ import annotations

from collections.abc import Sequence

from electralab.report import footnotes
from electralab.report.as_you_tune import Competitor, competitors
from electralab.report.details.retention_differences import PRETRAINED
from electralab.report.grid import Column, Section, Table, difference_columns, frame, section, summary_columns
from electralab.report.pruning import AS_YOU_TUNE
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs
from electralab.report.statistics.differences import Difference, difference_text
from electralab.report.tables.retention import differences
from electralab.report.tables.score_cells import difference_cell, majority_scores, score_text
from electralab.report.text import ABSENT, count, listing, number

Arm = tuple[str, str, str]  # model, task, chain
Kept = dict[str, dict[Arm, Difference]]
VERDICTS = {
    "higher": "better",
    "lower": "worse",
    "unclear": "no difference shown",
    "unknown": "one common seed, no verdict",
}


def table(results: Results) -> Table:
    """A section for every task and model.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs = results.finetuned
    groups, kept = competitors(runs), _kept(results)
    every = [one for own in groups.values() for one in own]
    arms = [one.line.arm for one in every]
    return Table(
        "Prune As You Tune",
        f"{footnotes.measured(runs.rows_of(arms), 'runs')} Scores: mean over seeds, in brackets its 95 % interval "
        "(Student t), n seeds; one seed has no interval. Differences: on the seeds and rows that both have; their 95 % "
        "interval covers both. % zeros: of the weights of the encoder's dense layers, counted in the saved file."
        f"{footnotes.sampling(runs, arms)}",
        frame(every, _csv(runs)),
        [*(_section(runs, *place, own, kept) for place, own in groups.items()), *footnotes.failed(runs)],
        [
            "Teacher: `fixed` is a fine-tuned model; `as published` a copy of the model before fine-tuning under a "
            "head that nothing has trained, as the original program had it.",
            footnotes.no_difference(one.minus_reference for one in every),
            *footnotes.marked(runs, arms),
        ],
        [_answer(runs, *place, own) for place, own in groups.items()],
    )


def _kept(results: Results) -> Kept:
    """By retention, and by model, task and chain: how far a chain is from what the pretrained model knew."""
    found: Kept = {}
    for key, difference in differences(results).items():
        retention, model, task, method, against = key
        if against == PRETRAINED:
            found.setdefault(retention, {})[model, task, method] = difference
    return found


def _section(runs: Runs, task: str, model: str, own: Sequence[Competitor], kept: Kept) -> Section:
    columns = _columns(runs, own)
    for retention, of in kept.items():
        if any((model, task, one.line.chain) in of for one in own):
            columns.append(_retained(retention, of))
    shown = section(f"{task}, {runs.title(model)} ({METRICS[runs.metric(task)]})", own, columns)
    for majority in majority_scores(runs, task, model, [one.line.cell for one in own]):
        shown = shown.plus({"Chain": majority.name, "Score": number(majority.score)})
    return shown


def _columns(runs: Runs, own: Sequence[Competitor]) -> list[Column[Competitor]]:
    first = own[0].reference
    return [
        Column("", lambda one: one.line.chain, "Chain"),
        Column("", lambda one: one.line.words, "Method", left=True),
        Column("", lambda one: one.teacher, "Teacher", left=True),
        Column("", lambda one: one.line.sparsity, "% zeros", _percent),
        Column("", lambda one: one.trainable, "Trained", count),
        Column("", lambda one: f"{score_text(one.line.score)}{footnotes.mark(runs, one.line.arm)}", "Score"),
        Column("", lambda one: one.line.minus_dense, "Minus dense", difference_cell),
        *([Column("", lambda one: one.minus_reference, f"Minus {first}", difference_cell)] if first else []),
    ]


def _retained(retention: str, of: dict[Arm, Difference]) -> Column[Competitor]:
    def difference(one: Competitor) -> Difference | None:
        return of.get((one.line.model, one.line.cell.task, one.line.chain))

    return Column("", difference, f"Retained ({retention}) minus pretrained", difference_cell)


def _percent(share: float | None) -> str:
    return ABSENT if share is None else number(100 * share, 1)


def _csv(runs: Runs) -> list[Column[Competitor]]:
    return [
        Column("row", lambda one: runs.title(one.line.model)),
        Column("model", lambda one: one.line.model),
        Column("task", lambda one: one.line.cell.task),
        Column("method", lambda one: one.line.chain),
        Column("kinds", lambda one: "+".join(one.line.kinds)),
        Column("what", lambda one: one.line.words),
        Column("teacher", lambda one: one.teacher),
        Column("metric", lambda one: runs.metric(one.line.cell.task)),
        Column("sparsity.encoder", lambda one: one.line.sparsity),
        Column("sparsity.all", lambda one: one.line.measured["sparsity.all"]),
        Column("trainable_parameters", lambda one: one.trainable),
        *summary_columns(lambda one: one.line.score),
        Column("dense", lambda one: one.line.dense),
        *difference_columns("minus_dense", lambda one: one.line.minus_dense),
        Column("reference", lambda one: one.reference),
        *difference_columns("minus_reference", lambda one: one.minus_reference),
    ]


def _answer(runs: Runs, task: str, model: str, own: Sequence[Competitor]) -> str:
    """Whether pruning while tuning is better than pruning first, and what is best of all at any sparsity."""
    start = f"**{task}, {runs.title(model)}:**"
    scored = [one for one in own if one.line.score and one.line.sparsity]
    if not scored:
        return f"{start} no finished run of a pruned model."
    best = max(scored, key=lambda one: one.line.score.mean if one.line.score else 0.0)
    parts = [
        f"best of the pruned models `{best.line.chain}` {score_text(best.line.score)} "
        f"({_percent(best.line.sparsity)} % zeros)"
    ]
    first = own[0].reference
    compared = [one for one in scored if one.minus_reference and one.line.kinds[-1] == AS_YOU_TUNE]
    for verdict, words in VERDICTS.items():
        named = [one for one in compared if one.minus_reference and one.minus_reference.verdict == verdict]
        if named:
            said = listing([f"`{one.line.chain}` {difference_text(one.minus_reference)}" for one in named])
            parts.append(f"against pruning first (`{first}`) {words}: {said}")
    return f"{start} {'; '.join(parts)}."
