"""Table `downstream`: every fine-tuned model on every task, over seeds, with GLUE's averages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from electralab.report import footnotes
from electralab.report.comparisons import RESAMPLES
from electralab.report.flatten import NOTE_SEPARATOR
from electralab.report.grid import Column, Section, Table, frame, section, summary_columns
from electralab.report.results import Results
from electralab.report.runs import METRICS, Cell, Runs
from electralab.report.scores import AVERAGES, ELSEWHERE, Average, Score, averages, scores
from electralab.report.statistics import Summary
from electralab.report.tables.score_cells import score_text
from electralab.report.text import ABSENT, listing, number

SHOWN_PAIRS = 6  # a footnote names this many; comparisons.csv holds all
WNLI_TRAP = (
    "WNLI's validation rows reuse sentences of its training rows with the opposite label, so a model that learns the "
    "training rows scores below the most frequent label: its majority trap"
)


class Line(NamedTuple):
    """A model's number on one task, or its average over a set of tasks, which has neither majority class nor rows."""

    model: str
    score: Score | Average
    method: str
    metric: str
    over_seeds: Summary | None

    @property
    def cell(self) -> Cell | None:
        """The task and method behind one score; None behind an average."""
        return self.score.cell if isinstance(self.score, Score) else None


def table(results: Results) -> Table:
    """Model by task: the score over seeds; then every cell with smallest and largest.

    Raises:
        UserError: the experiment fine-tunes no model whole.
    """
    runs = results.whole
    if runs.finetunings.empty:
        raise results.nothing("fine-tuning of a whole model")
    every, of_sets = scores(runs), averages(runs)
    is_glue = any(score.glue for score in every)
    sections = []
    for heading, wanted in (("GLUE", True), ("Other tasks" if is_glue else "", False)):
        shown = [score for score in every if score.main and score.glue == wanted]
        if shown:
            sections.append(_grid(runs, heading, shown))
        if of_sets and wanted:
            sections.append(_averages(runs, of_sets))
    lines = [
        Line(model, score, score.cell.method, score.metric, score.summary(runs, model))
        for score in every
        for model in runs.finetuned_models
    ]
    lines = [line for line in lines if line.over_seeds]
    columns = _columns(runs)
    if lines:
        sections.append(section("Every cell over its seeds", lines, columns))
    lines += [Line(of.model, of, of.method, "mean", of.over_seeds) for of in of_sets]
    return Table("Downstream tasks", _about(runs, is_glue), frame(lines, columns), sections, _notes(results, every))


def _about(runs: Runs, is_glue: bool) -> str:
    kinds = "Other tasks stand in their own section and in no average." if is_glue else "None of these tasks is GLUE's."
    one = " One seed gives no interval, and such a cell says n=1." if _single_seeds(runs) else ""
    return (
        f"{footnotes.measured(runs.finetuned, 'fine-tunings')} Validation scores: the mean over seeds, in brackets "
        "its 95 % interval (Student t, each model by itself), and the number of seeds n."
        f"{one} Accuracy where a heading names no other metric. {kinds}"
    )


def _single_seeds(runs: Runs) -> bool:
    counts = runs.finetuned.groupby(["model", "task", "method"])["seed"].nunique()
    return bool((counts == 1).any())


def _grid(runs: Runs, heading: str, shown: Sequence[Score]) -> Section:
    rows = []
    for model in runs.finetuned_models:
        cells = [_cell_text(runs, score, model) for score in shown]
        if set(cells) != {ABSENT}:
            rows.append([runs.title(model), *cells])
    for method, name in runs.baselines().items():
        values = [runs.baseline_score(score.cell.task, method, score.column) for score in shown]
        if any(value is not None for value in values):
            rows.append([name, *(number(value) for value in values)])
    rows.append(["majority class", *(number(_majority(runs, score)) for score in shown)])
    return Section(heading, ["Model", *(score.label for score in shown)], rows)


def _cell_text(runs: Runs, score: Score, model: str) -> str:
    summary = score.summary(runs, model)
    if summary is None:
        return ABSENT
    marks = "†" if runs.degenerate_runs(score.cell, model) else ""
    marks += "‡" if score.id != "ax" and runs.at_majority(score.cell, model) else ""
    return f"{score_text(summary)}{' ' if marks else ''}{marks}"


def _majority(runs: Runs, score: Score) -> float | None:
    """The majority rate that a run reports is that of its first validation set."""
    return None if score.id in ELSEWHERE else runs.majority_score(score.cell.task, score.metric)


def _averages(runs: Runs, of_sets: Sequence[Average]) -> Section:
    rows = [
        [runs.title(average.model), average.id, average.method, score_text(average.over_seeds)] for average in of_sets
    ]
    return Section("Averages", ["Model", "Set", "Method", "Mean"], rows, left=("Set", "Method"))


def _columns(runs: Runs) -> list[Column[Line]]:
    def of_cell(value: Callable[[Cell, str], Any]) -> Callable[[Line], Any]:
        return lambda line: None if line.cell is None else value(line.cell, line.model)

    def rows(split: str) -> Callable[[Line], Any]:
        def first(line: Line) -> Any:
            if line.cell is None or (line.score.id in ELSEWHERE and "validation" in split):
                return None
            return next(iter(runs.by_seed(line.cell, line.model, split).values()), None)

        return first

    def at_majority(line: Line) -> bool | None:
        return None if line.cell is None else line.score.id != "ax" and runs.at_majority(line.cell, line.model)

    def marked(line: Line) -> str:
        assert line.cell is not None, "the list of cells has no averages"
        degenerate = runs.degenerate_runs(line.cell, line.model)
        marks = ("†" if degenerate else "") + ("‡" if at_majority(line) else "")
        return f"{runs.title(line.model)}{' ' if marks else ''}{marks}"

    def task(line: Line) -> str:
        assert line.cell is not None, "the list of cells has no averages"
        same = line.score.id in (line.cell.task, "mnli")
        return line.cell.task if same else f"{line.cell.task} ({line.score.id})"

    return [
        Column("", task, "Task"),
        Column("", marked, "Model", left=True),
        Column("row", lambda line: runs.title(line.model)),
        Column("model", lambda line: line.model),
        Column("task", of_cell(lambda cell, _: cell.task)),
        Column("task_id", lambda line: line.score.id),
        Column("glue", lambda line: not isinstance(line.score, Score) or line.score.glue),
        Column("method", lambda line: line.method, "Method", left=True),
        Column("metric", lambda line: line.metric, "Metric", lambda metric: METRICS.get(metric, metric), left=True),
        *summary_columns(lambda line: line.over_seeds),
        Column("", lambda line: line.over_seeds, "Mean over seeds", score_text),
        Column("", lambda line: line.over_seeds and line.over_seeds.median, "Median", number),
        Column("", lambda line: line.over_seeds and line.over_seeds.minimum, "Smallest", number),
        Column("", lambda line: line.over_seeds and line.over_seeds.maximum, "Largest", number),
        Column("degenerate_runs", of_cell(runs.degenerate_runs)),
        Column("majority_rate", of_cell(lambda cell, _: runs.task_value(cell.task, "majority_rate"))),
        Column("at_or_below_majority", at_majority),
        *(
            Column(name, rows(name))
            for name in ("train_rows", "official_train_rows", "validation_rows", "official_validation_rows")
        ),
    ]


def _notes(results: Results, every: Sequence[Score]) -> list[str]:
    runs = results.whole
    cells = list(dict.fromkeys(score.cell for score in every))
    notes = [f"`{model}` was not pretrained here: `{origin}`." for model, origin in runs.origins.items()]
    if any(score.glue for score in every):
        for name, tasks in AVERAGES.items():
            notes.append(
                f"`{name}` is the mean over {listing(tasks)} (mnli: matched; mcc for cola, Spearman's correlation for "
                f"stsb, accuracy for the others{'; no wnli' if 'wnli' not in tasks else ''}), and is given only where "
                "every task is there."
            )
    notes += _differences(results, cells)
    arms = [(cell, model) for cell in cells for model in dict.fromkeys(runs.cell_rows(cell)["model"])]
    notes += footnotes.degenerate(runs, arms, runs.title)
    notes += _majority_notes(runs, cells)
    notes += row_counts(runs, cells)
    notes += _record_notes(runs, cells)
    synthetic = sorted({cell.task for cell in cells if runs.is_synthetic(cell.task)})
    if synthetic:
        notes.append(f"{listing(synthetic)}: synthetic, its labels are made by a program; no person judged them.")
    return notes + footnotes.methods(runs, cells) + footnotes.sampling(runs, arms) + footnotes.unfinished(runs)


def _differences(results: Results, cells: Sequence[Cell]) -> list[str]:
    """Which model is better than which, by the paired bootstrap of `comparisons.csv`."""
    runs, notes, comparisons = results.whole, [], results.detail("comparisons")
    for cell in cells:
        rows = comparisons[(comparisons["task"] == cell.task) & (comparisons["method"] == cell.method)]
        if rows.empty:
            continue
        better = sorted((found for found in map(_better, rows.itertuples()) if found), key=lambda found: -found[2])
        parts = [
            f"{runs.title(a)} better than {runs.title(b)} ({by:+.3f} [{low:+.3f}, {high:+.3f}], "
            f"{100 * share:.1f} % of resamples)"
            for a, b, by, low, high, share in better[:SHOWN_PAIRS]
        ]
        if len(better) > SHOWN_PAIRS:
            parts.append(f"{len(better) - SHOWN_PAIRS} more such pairs")
        undecided = len(rows) - len(better)
        if undecided:
            parts.append(f"no difference shown in {undecided} of {len(rows)} pairs")
        notes.append(f"**{runs.cell_label(cell)}:** {'; '.join(parts)}.")
    if notes:
        notes.append(
            f"Differences are shown by a paired bootstrap over the validation examples ({RESAMPLES:,} resamples, the "
            "same for all models; 95 % percentile interval) of scores averaged over the common seeds. They do not "
            "cover the scatter over seeds and are not corrected for the number of pairs; `comparisons.csv` has all."
        )
    return notes


def _better(row: Any) -> tuple[str, str, float, float, float, float] | None:
    """The better model, the other, by how much, from, to, share of resamples; None where the interval holds 0."""
    if row.low > 0:
        return row.model_a, row.model_b, row.difference, row.low, row.high, row.share_a_better
    if row.high < 0:
        return row.model_b, row.model_a, -row.difference, -row.high, -row.low, 1 - row.share_a_better
    return None


def _majority_notes(runs: Runs, cells: Sequence[Cell]) -> list[str]:
    notes = []
    for cell in cells:
        models = [model for model in runs.finetuned_models if runs.at_majority(cell, model)]
        if models:
            rate = number(runs.task_value(cell.task, "majority_rate"))
            trap = f" {WNLI_TRAP}." if runs.glue(cell.task) == "wnli" else ""
            notes.append(
                f"‡ {runs.cell_label(cell)}: by accuracy no better than always answering the most frequent label "
                f"({rate}): {listing([runs.title(model) for model in models])}.{trap}"
            )
    return notes


def row_counts(runs: Runs, cells: Sequence[Cell]) -> list[str]:
    """Where the rows are not those of the official splits."""
    alike: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        rows, parts = runs.cell_rows(cell), []
        for split, verb in (("train", "trained on"), ("validation", "scored on")):
            if f"metric.official_{split}_rows" not in rows:
                continue
            counts = rows[[f"metric.{split}_rows", f"metric.official_{split}_rows"]].dropna().drop_duplicates()
            for own, official in counts.itertuples(index=False):
                if own != official:
                    sample = "a sample of " if own < official else ""
                    parts.append(f"{verb} {sample}{own:,.0f} rows where the official split has {official:,.0f}")
        if parts:
            alike.setdefault((cell.task, listing(parts)), []).append(runs.cell_name(cell))
    return [f"{names[0]}{_others(names[1:])}: {said}." for (_, said), names in alike.items()]


def _others(names: Sequence[str]) -> str:
    """Further methods of the same task: ` and 3 other methods`."""
    return f" and {len(names)} other method{'s' if len(names) > 1 else ''}" if names else ""


def _record_notes(runs: Runs, cells: Sequence[Cell]) -> list[str]:
    """What every run of a model on a task says about its data, each sentence once."""
    said: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        by_model = {str(model): own["notes"] for model, own in runs.cell_rows(cell).groupby("model", sort=False)}
        common = {
            model: set.intersection(*(set(text.split(NOTE_SEPARATOR)) for text in texts)) - {""}
            for model, texts in by_model.items()
        }
        for model, sentences in common.items():
            for sentence in sorted(sentences):
                of_all = all(sentence in others for others in common.values())
                who = "" if of_all else f", {runs.title(model)}"
                said.setdefault((sentence, who), {})[runs.cell_name(cell)] = None
    return [f"{listing(list(tasks))}{who}: {sentence.rstrip('.')}." for (sentence, who), tasks in said.items()]
