"""What held, in sentences that the data write: the same pair of arms gets the same sentence on every page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from electralab.names import NO_MODEL
from electralab.report.runs import COMPARED, MAJORITY, METRICS, Cell, Runs
from electralab.report.statistics.comparisons import Arm
from electralab.report.statistics.differences import Difference, difference_text
from electralab.report.statistics.intervals import summarize
from electralab.report.statistics.orders import order
from electralab.report.text import listing, number, with_interval

# [CLS] and [SEP] are never replaced and token identity tells a little, so .51 is free; stuck runs stay below .55.
LEARNT_AUC = 0.55


# --- pretraining ----------------------------------------------------------------------------------------------------


def learnt(runs: Runs) -> list[str]:
    """Whether generators beat word frequencies, and which discriminators learnt to detect replacements."""
    loss, auc = runs.summaries("mlm_loss"), runs.summaries("rtd_auc_unigram")
    lines = []
    if loss:
        unigram = runs.pretrained["metric.unigram_cross_entropy"].mean()
        best, worst = (runs.title(choose(loss, key=lambda m: loss[m].mean)) for choose in (min, max))
        means = [summary.mean for summary in loss.values()]
        beside = f"a model that knows word frequencies alone has {number(unigram, 2)}"
        if len(loss) == 1:
            lines.append(f"**Generator:** MLM loss {number(means[0], 2)} nat; {beside}.")
        else:
            lines.append(
                f"**Generators:** MLM loss from {number(min(means), 2)} ({best}) to {number(max(means), 2)} nat "
                f"({worst}); {beside}."
            )
    stuck = [runs.title(model) for model, summary in auc.items() if summary.mean <= LEARNT_AUC]
    good = {runs.title(model): summary.mean for model, summary in auc.items() if summary.mean > LEARNT_AUC}
    parts = []
    if good:
        shown = f"{number(min(good.values()))} to {number(max(good.values()))}" if len(good) > 1 else ""
        shown = shown or number(next(iter(good.values())))
        parts.append(f"learnt by {listing(list(good))} (AUC on unigram replacements {shown})")
    if stuck:
        parts.append(
            f"not learnt, with an AUC of at most {LEARNT_AUC} even on unigram replacements, by {listing(stuck)} "
            "(about .51 comes free, because [CLS] and [SEP] are never replaced)"
        )
    return [*lines, f"**Detection:** {'; '.join(parts)}."] if parts else lines


def no_better_than_a_constant(runs: Runs) -> list[str]:
    """Models whose RTD loss says nothing that the replaced rate would not."""
    loss, entropy = runs.summaries("rtd_loss"), runs.summaries("rtd_base_entropy")
    above = [runs.title(m) for m, s in loss.items() if m in entropy and s.mean >= entropy[m].mean]
    if not above:
        return []
    return [f"RTD loss is not below the base-rate entropy at {listing(above)}: no better than a constant."]


def ordered_sizes(runs: Runs, sweep: str) -> list[str]:
    """Which sizes of a sweep can be ordered, by what the pretraining reached and by their scores."""
    sizes = {runs.title(model): model for model in runs.sizes(sweep)}
    if len(sizes) < 2:
        return []
    lines = []
    for metric, what in COMPARED.items():
        found = order(list(sizes), lambda a, b, m=metric: runs.pretraining_difference(m, sizes[a], sizes[b]))  # type: ignore[misc]
        lines.append(found.sentence(what))
    return [f"Sizes of `{sweep}`, by paired differences: {'; '.join(lines)}."]


def ordered_scores(runs: Runs, sweep: str, cells: Sequence[Cell]) -> list[str]:
    """The same by their scores on tasks."""
    lines = []
    for cell in cells:
        models = [model for model in runs.sizes(sweep) if runs.by_seed(cell, model)]
        arms = {runs.title(model): Arm(model, cell.method) for model in models}
        if len(arms) > 1:
            found = order(list(arms), lambda a, b, c=cell, n=arms: runs.difference(c.task, n[a], n[b]))  # type: ignore[misc]
            lines.append(found.sentence(f"{METRICS[runs.metric(cell.task)]} on {runs.cell_name(cell)}"))
    return [f"Sizes of `{sweep}` on tasks, by paired differences: {'; '.join(lines)}."] if lines else []


# --- tasks ----------------------------------------------------------------------------------------------------------


def differences(runs: Runs, cell: Cell) -> dict[str, Difference]:
    """Score of each pretrained model minus that of its untrained control: same task, method and seeds."""
    found: dict[str, Difference] = {}
    for model in runs.scores(cell):
        control = runs.untrained_control(cell, model)
        if control is None:
            continue
        difference = runs.difference(cell.task, Arm(model, cell.method), Arm(control, cell.method))
        if difference is not None:
            found[model] = difference
    return found


def task_answer(runs: Runs, cell: Cell, more: Sequence[str] = ()) -> str:
    """What pretraining bought on a task, and the best model beside what needs none."""
    bought = _bought(runs, cell) if runs.scores(cell) else []
    sentences = [*bought, *more, *_best(runs, cell)]
    text = " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)
    return f"**{runs.cell_label(cell)}:** {text or 'no finished run.'}"


def _bought(runs: Runs, cell: Cell) -> list[str]:
    found = differences(runs, cell)
    if not found:
        return ["no finished control from random initialisation, so nothing can be said about what pretraining bought"]
    main = {model: d for model, d in found.items() if not runs.is_control(model)}
    by_verdict: dict[str, list[str]] = {}
    for model, difference in main.items():
        by_verdict.setdefault(difference.verdict, []).append(model)
    metric = METRICS[runs.metric(cell.task)]
    parts = []
    if higher := by_verdict.get("higher"):
        parts.append(f"pretraining helped at {_signed(runs, higher, main)}")
    elif set(by_verdict) <= {"unclear", "lower"} and main:
        best = max(main, key=lambda model: main[model].mean)
        measurably = " measurably" if main[best].mean > 0 else ""
        parts.append(f"pretraining did not help{measurably} at this scale, at best {_signed(runs, [best], main)}")
    if lower := by_verdict.get("lower"):
        parts.append(f"lower than random initialisation at {_signed(runs, lower, main)}")
    unclear = by_verdict.get("unclear")
    if unclear and higher:
        parts.append(f"no difference shown at {listing([runs.title(model) for model in unclear])}")
    if unknown := by_verdict.get("unknown"):
        parts.append(f"one common seed, no verdict at {_signed(runs, unknown, main)}")
    plain = [model for model in found if runs.is_control(model)]
    parts += [_signed(runs, plain, found)] if plain else []
    return [f"{'; '.join(parts)} (each {metric} minus that of random initialisation)"]


def _signed(runs: Runs, models: Sequence[str], found: Mapping[str, Difference]) -> str:
    return listing([f"{runs.title(model)} {difference_text(found[model])}" for model in models])


def _best(runs: Runs, cell: Cell) -> list[str]:
    """The best model by its mean; baselines and the majority class beside it, and which baselines are above it."""
    by_model = {model: list(runs.by_seed(cell, model).values()) for model in runs.finetuned_models}
    scores = {model: summarize(values) for model, values in by_model.items() if values}
    if not scores:
        return []
    best = max(scores, key=lambda model: scores[model].mean)
    one = "" if len(scores) == 1 else f"best of {len(scores)} models: "
    text = f"{one}{runs.title(best)} {with_interval(scores[best])}"
    beside = []
    for method, name in runs.baselines().items():
        value = runs.baseline_score(cell.task, method)
        if value is not None:
            beside.append(f"{name} {number(value)}{_above(runs, cell, method, list(scores))}")
    majority = runs.majority_score(cell.task, runs.metric(cell.task))
    beside += [] if majority is None else [f"{MAJORITY} {number(majority)}"]
    return [f"{text}; {', '.join(beside)}" if beside else text]


def _above(runs: Runs, cell: Cell, baseline: str, models: Sequence[str]) -> str:
    """Whether a baseline is above every model, by paired differences."""
    found = [runs.difference(cell.task, Arm(NO_MODEL, baseline), Arm(model, cell.method)) for model in models]
    above = [difference for difference in found if difference and difference.verdict == "higher"]
    return " (above every model)" if above and len(above) == len(models) else ""
