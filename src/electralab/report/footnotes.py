"""Sentences that the data write: what may not be concluded, what failed, what a number rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from electralab.report.comparisons import CORRELATIONS
from electralab.report.runs import METRICS, Arm, Cell, Runs
from electralab.report.statistics import (
    Difference,
    Summary,
    indistinguishable,
    intervals,
    score_difference,
    wilson_interval,
)
from electralab.report.text import listing, number

# [CLS] and [SEP] are never replaced and token identity tells a little, so .51 is free; stuck runs stay below .55.
LEARNT_AUC = 0.55


def measured(rows: pd.DataFrame, what: str) -> str:
    """How the numbers were measured: runs, seeds, machine, versions, code."""
    if rows.empty:
        return f"No finished {what}."
    versions = [
        f"{name} {_distinct(rows, f'provenance.versions.{name}')}"
        for name in ("python", "torch", "transformers", "tokenizers")
        if _distinct(rows, f"provenance.versions.{name}")
    ]
    commit = _distinct(rows, "provenance.git_commit", 12)
    dirty = "provenance.git_dirty" in rows and rows["provenance.git_dirty"].eq(True).any()
    code = f"source {_distinct(rows, 'provenance.source_hash')}"
    if commit:
        code += f", commit {commit}{' with uncommitted changes' if dirty else ''}"
    seeds = listing([str(seed) for seed in sorted(rows["seed"].unique())])
    return (
        f"{len(rows)} {what} of the experiment `{_distinct(rows, 'preset')}`, seeds {seeds}, on "
        f"{_distinct(rows, 'provenance.device')}, threads a run: {_distinct(rows, 'provenance.threads')} "
        f"({_distinct(rows, 'provenance.machine')}; load average at most "
        f"{rows['provenance.load_average'].max():.1f}). {'; '.join(versions)}; {code}."
    )


def _distinct(rows: pd.DataFrame, column: str, length: int | None = None) -> str:
    if column not in rows:
        return ""
    return " / ".join(
        dict.fromkeys(
            f"{value:g}" if isinstance(value, float) else str(value)[:length] for value in rows[column].dropna()
        )
    )


def extensions(runs: Runs) -> str:
    """Which rows rest on departures from the paper."""
    rows = runs.pretrained
    named = {names: listing(names.split(";")) for names in dict.fromkeys(rows["extensions"]) if names}
    if not named:
        return "All pretrainings follow their recipe without extensions."
    sentences = []
    for names, text in named.items():
        models = list(dict.fromkeys(rows.loc[rows["extensions"] == names, "pretraining"]))
        sentences.append(f"`{listing(models)}` rests on extensions over the ELECTRA paper: {text}.")
    if runs.controls:
        sentences.append(f"The control without them is `{listing(sorted(runs.controls))}`.")
    return " ".join(sentences)


def unfinished(runs: Runs) -> list[str]:
    """One line for each failed or skipped run."""
    rows = runs.frame[runs.frame["status"] != "ok"]
    return [
        f"{row['status'].capitalize()} run: {row['stage']} {row['model']}"
        f"{' on ' + row['task'] if row['task'] else ''}{', ' + row['method'] if row['method'] else ''},"
        f" seed {row['seed']} ({row['reason'] or 'no reason recorded'}). It is in no mean."
        for row in rows.to_dict("records")
    ]


def ordering(runs: Runs, sweep: str, what: str, summaries: Mapping[str, Summary]) -> list[str]:
    """Which sizes of a sweep cannot be ordered by a quantity."""
    summaries = {runs.label(model): summaries[model] for model in runs.sizes(sweep) if model in summaries}
    if len(summaries) < 2:
        return []
    notes = []
    alone = [label for label, summary in summaries.items() if summary.low is None]
    if alone:
        notes.append(f"{listing(alone)} cannot be ordered by {what}: one seed, no interval.")
    with_one = intervals(summaries)
    groups = indistinguishable(with_one)
    if len(with_one) > 1 and groups and len(groups[0]) == len(with_one):
        notes.append(f"{listing(groups[0])} cannot be ordered by {what}: all their intervals overlap.")
    elif groups:
        text = "; ".join(listing(group) for group in groups)
        notes.append(f"By {what}, these sizes cannot be ordered, because their intervals overlap: {text}.")
    return notes


def detection(runs: Runs) -> list[str]:
    """Models whose discriminator learnt nothing that a constant would not know."""
    notes = []
    auc, loss = runs.summaries("rtd_auc_unigram"), runs.summaries("rtd_loss")
    entropy = runs.summaries("rtd_base_entropy")
    stuck = [runs.label(m) for m, s in auc.items() if s.mean <= LEARNT_AUC]
    if stuck:
        notes.append(
            f"Not learnt, with an AUC of at most {LEARNT_AUC} even on unigram replacements: {listing(stuck)}. About "
            ".51 comes free, because [CLS] and [SEP] are never replaced."
        )
    above = [runs.label(m) for m, s in loss.items() if m in entropy and s.mean >= entropy[m].mean]
    if above:
        notes.append(f"RTD loss is not below the base-rate entropy at {listing(above)}: no better than a constant.")
    return notes


def differences(runs: Runs, cell: Cell) -> dict[str, Difference]:
    """Score of each pretrained model minus that of its untrained control: same task, method and seeds."""
    rows = runs.task_value(cell.task, "validation_rows")
    accuracy = runs.metric(cell.task) == "accuracy"
    found: dict[str, Difference] = {}
    for model in runs.scores(cell):
        control = runs.untrained_control(cell, model)
        if control is None or not rows:
            continue
        difference = score_difference(
            runs.by_seed(cell, model), runs.by_seed(cell, control), int(rows) if accuracy else None
        )
        if difference is not None:
            found[model] = difference
    return found


VERDICTS = {
    "higher": "pretraining helped at",
    "unclear": "no difference shown (the interval holds 0) at",
    "lower": "lower than random initialisation at",
    "unknown": "one common seed, no verdict at",
}


def bought(runs: Runs, cell: Cell) -> list[str]:
    """Where pretraining helped, where it did not, and where nothing can be said."""
    label = runs.cell_label(cell)
    found = differences(runs, cell)
    main = {model: d for model, d in found.items() if not runs.is_control(model)}
    plain = {model: d for model, d in found.items() if runs.is_control(model)}
    if not found:
        return [
            f"{label}: no finished control from random initialisation with `{cell.method}`, so nothing can be said "
            "about what pretraining bought."
        ]
    groups: dict[str, list[str]] = {}
    for model, difference in main.items():
        groups.setdefault(difference.verdict, []).append(model)
    parts = [
        f"{text} {listing([_signed(runs, model, main[model]) for model in groups[verdict]])}"
        for verdict, text in VERDICTS.items()
        if verdict in groups
    ]
    headline = f"**{label}:** "
    if groups and set(groups) <= {"unclear", "lower"}:
        measurably = " measurably" if max(d.mean for d in main.values()) > 0 else ""
        headline = f"**{label}: pretraining did not help{measurably} at this scale.** "
    parts += [_signed(runs, model, difference) for model, difference in plain.items()]
    metric = METRICS[runs.metric(cell.task)]
    return [f"{headline}{metric[0].upper()}{metric[1:]} minus that of random initialisation: {'; '.join(parts)}."]


def _signed(runs: Runs, model: str, difference: Difference) -> str:
    text = f"{runs.label(model)} ({difference.mean:+.3f}"
    if difference.low is None or difference.high is None:
        return f"{text})"
    return f"{text} [{difference.low:+.3f}, {difference.high:+.3f}])"


def against_baselines(runs: Runs, cell: Cell) -> list[str]:
    """Baselines that no pretrained model reaches."""
    notes = []
    scores = runs.scores(cell)
    for method, name in runs.baselines().items():
        score = runs.baseline_score(cell.task, method)
        known = intervals(scores)
        if score is not None and known and all(high < score for _, high in known.values()):
            notes.append(
                f"{runs.cell_label(cell)}: {name} ({score:.3f}) is above the interval of every fine-tuned model."
            )
    return notes


def degenerate(runs: Runs, arms: Sequence[Arm], name: Callable[[str], str]) -> list[str]:
    """Models that answered with one class, or one value, in some run."""
    notes = []
    for cell, model in arms:
        what = "one value" if runs.metric(cell.task) in CORRELATIONS else "one class"
        hits, n = runs.degenerate_runs(cell, model), len(runs.by_seed(cell, model))
        if hits:
            notes.append(
                f"† {runs.cell_label(cell)}, {name(model)}: {hits} of {n} runs predict {what} only; "
                "they are in the mean."
            )
    return notes


def sampling(runs: Runs, arms: Sequence[Arm]) -> list[str]:
    """How much one accuracy is worth on a validation set of this size."""
    parts = []
    for task in dict.fromkeys(cell.task for cell, _ in arms if runs.metric(cell.task) == "accuracy"):
        scored = runs.rows_of(arm for arm in arms if arm[0].task == task)
        if "metric.validation_rows" not in scored:
            continue
        counts = scored["metric.validation_rows"]
        for rows in sorted({int(value) for value in counts.dropna()}, reverse=True):
            rate = scored.loc[counts == rows, "metric.majority_rate"].median()
            low, high = wilson_interval(0.5 if pd.isna(rate) else rate, rows)
            parts.append(f"{task} {rows:,.0f} rows (±{number((high - low) / 2)})")
    if not parts:
        return []
    return [
        f"Validation sets, with the 95 % Wilson half-width of one accuracy at the majority rate, which the "
        f"intervals over seeds do not include: {listing(parts)}."
    ]


def methods(runs: Runs, cells: Sequence[Cell]) -> list[str]:
    """How each method was run, from the records."""
    notes = []
    for method in dict.fromkeys(cell.method for cell in cells):
        own = [cell for cell in cells if cell.method == method]
        rows = pd.concat([runs.cell_rows(cell) for cell in own])
        if rows.empty:
            continue
        rates = str(_distinct(rows, "spec.settings.learning_rates")).split(";")
        chosen = f"best of {len(rates)} learning rates ({listing(rates)}) on a tuning part of the training rows"
        rate = f"learning rate {rates[0]}" if len(rates) == 1 else chosen
        limit = _distinct(rows, "spec.settings.max_train_rows")
        tasks = listing([runs.cell_label(cell) for cell in own])
        head = f"{_distinct(rows, 'spec.settings.head')} head on {_distinct(rows, 'spec.settings.pooling')} pooling"
        notes.append(
            f"`{method}` ({tasks}): full fine-tuning, recipe `{_distinct(rows, 'recipe')}` with its options as set "
            f"here, {head}, {rate}, {_epochs(own, runs)}, "
            f"{f'at most {limit} training rows' if limit else 'all training rows'}, the same for every model."
        )
    return notes


def _epochs(cells: Sequence[Cell], runs: Runs) -> str:
    """`3 epochs`, or `3 epochs (rte and stsb: 10)` where tasks differ."""
    by_count: dict[str, list[str]] = {}
    for cell in cells:
        by_count.setdefault(_distinct(runs.cell_rows(cell), "spec.settings.epochs"), []).append(cell.task)
    by_count.pop("", None)
    (usual, _), *others = sorted(by_count.items(), key=lambda item: -len(item[1])) or [("no", [])]
    special = "; ".join(f"{listing(tasks)}: {count}" for count, tasks in others)
    return f"{usual} epochs ({special})" if special else f"{usual} epochs"
