"""What held, in sentences that the data write: the same pair of arms gets the same sentence on every page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from electralab.report.runs import MAJORITY, METRICS, Cell, Runs
from electralab.report.statistics import Difference, Summary, indistinguishable, intervals, score_difference, summarize
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


def unordered(runs: Runs, sweep: str, quantities: Mapping[str, Mapping[str, Summary]]) -> list[str]:
    """Which sizes of a sweep cannot be ordered, by each quantity, in one sentence."""
    none, some = [], []
    for what, found in quantities.items():
        summaries = {runs.title(model): found[model] for model in runs.sizes(sweep) if model in found}
        with_one = intervals(summaries)
        groups = indistinguishable(with_one)
        alone = [name for name in summaries if name not in with_one]
        if len(summaries) < 2 or not (groups or alone):
            continue
        if len(alone) == len(summaries) or (groups and len(groups[0]) == len(summaries)):
            none.append(what)
            continue
        shown = [listing(group) for group in groups] + ([f"{listing(alone)} (one seed)"] if alone else [])
        some.append(f"by {what} neither {', nor '.join(shown)}")
    parts = ([f"none by {listing(none)}"] if none else []) + some
    if not parts:
        return []
    return [f"Sizes of `{sweep}` that cannot be ordered, for intervals overlap or are missing: {'; '.join(parts)}."]


# --- tasks ----------------------------------------------------------------------------------------------------------


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
    return listing([f"{runs.title(model)} {signed(found[model])}" for model in models])


def signed(difference: Difference) -> str:
    """`+0.012 [-0.001, +0.025]`; one seed has no interval."""
    if difference.low is None or difference.high is None:
        return f"{difference.mean:+.3f}"
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def _best(runs: Runs, cell: Cell) -> list[str]:
    """The best model by its mean; baselines and the majority class, and whether every interval is below them."""
    by_model = {model: list(runs.by_seed(cell, model).values()) for model in runs.finetuned_models}
    scores = {model: summarize(values) for model, values in by_model.items() if values}
    if not scores:
        return []
    best = max(scores, key=lambda model: scores[model].mean)
    one = "" if len(scores) == 1 else f"best of {len(scores)} models: "
    text = f"{one}{runs.title(best)} {with_interval(scores[best])}"
    floor = {name: runs.baseline_score(cell.task, method) for method, name in runs.baselines().items()}
    floor[MAJORITY] = runs.majority_score(cell.task, runs.metric(cell.task))
    known = intervals(scores)
    beside = []
    for name, value in floor.items():
        if value is not None:
            above = bool(known) and all(high < value for _, high in known.values())
            beside.append(f"{name} {number(value)}{' (above the interval of every model)' if above else ''}")
    return [f"{text}; {', '.join(beside)}" if beside else text]
