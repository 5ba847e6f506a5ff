"""Table `protocols`: one learning rate set in the config, against the best of several that each run chooses itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from electralab.report import footnotes
from electralab.report.learning_rates import chosen_rates, chosen_text, rates_text
from electralab.report.markdown import ABSENT, Section, Table, count, listing, number
from electralab.report.protocols import ARMS, Arm, Pair, both_orders_shown, finished, pairs, rank, swapped
from electralab.report.results import Results
from electralab.report.runs import FULL, METRICS, Runs
from electralab.report.tables.adapters import AS_PUBLISHED, OPTIONS, method_order
from electralab.report.tables.score_cells import (
    difference_text,
    majority_notes,
    majority_scores,
    marks,
    score_text,
    summary_fields,
)

OF_A_PROTOCOL = (
    *("method", "learning_rates", "chosen", "seeds", "median", "mean", "low", "high", "worst", "best"),
    *("rank", "degenerate_runs", "at_or_below_majority", "train_rows", "train_seconds", "run_seconds", "tokens"),
)
COLUMNS = (
    *("row", "model", "task", "kind", "recipe", *OPTIONS, "metric", "majority_rate", "validation_rows"),
    *(f"one_{name}" for name in OF_A_PROTOCOL),
    *(f"budget_{name}" for name in OF_A_PROTOCOL),
    *("paired_seeds", "difference", "difference_low", "difference_high"),
)
# `targets` means nothing to them (`electralab.config.methods.adapters`).
WITHOUT_TARGETS = ("linear_probe", "prefix", "prompt", "ia3")
TITLE = "One learning rate, or a budget of them"


def protocols(results: Results) -> Table:
    """A section for every task and model, a row for every method that was run under both protocols."""
    runs = results.runs
    groups = _groups(runs)
    rows = [_columns(runs, pair, own) for own in groups.values() for pair in own]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    if not groups:
        about = (
            "No method of this experiment was run both with one learning rate and with several to choose from, its "
            "other options being equal: there is nothing to compare."
        )
        return Table(TITLE, about, frame, [], footnotes.unfinished(runs))
    sections = [_section(runs, task, model, own) for (task, model), own in groups.items()]
    return Table(TITLE, _about(runs, groups), frame, sections, _notes(runs, groups))


def _groups(runs: Runs) -> dict[tuple[str, str], list[Pair]]:
    """Pairs by task and model, methods in the order of the table `adapters`."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in sorted(pairs(runs), key=lambda pair: method_order(runs, pair.one.method)):
        groups.setdefault((pair.task, pair.model), []).append(pair)
    tasks = list(dict.fromkeys(cell.task for cell in runs.cells))
    return dict(sorted(groups.items(), key=lambda at: (tasks.index(at[0][0]), runs.finetuned_models.index(at[0][1]))))


def _columns(runs: Runs, pair: Pair, own: Sequence[Pair]) -> dict[str, Any]:
    model, method = pair.model, pair.one.method
    row: dict[str, Any] = {"row": runs.title(model), "model": model, "task": pair.task}
    row |= {name: runs.setting(method, name) for name in ("recipe", *OPTIONS)} | {"kind": runs.kinds[method]}
    row["metric"] = runs.metric(pair.task)
    for name in ("majority_rate", "validation_rows"):
        row[name] = runs.typical(pair.one.cell, model, f"metric.{name}")
    for prefix, of in ARMS.items():
        arm = of(pair)
        chosen = chosen_rates(runs, arm.cell, model)
        values = summary_fields(arm.score) | {
            "method": arm.method,
            "learning_rates": ";".join(f"{rate:g}" for rate in arm.rates),
            "chosen": ";".join(f"{rate:g}:{times}" for rate, times in sorted(chosen.items())),
            "rank": rank(pair, own, of),
            "degenerate_runs": runs.degenerate_runs(arm.cell, model),
            "at_or_below_majority": runs.at_majority(arm.cell, model),
            "train_rows": runs.typical(arm.cell, model, "metric.train_rows"),
            **{"train_seconds": arm.train_seconds, "run_seconds": arm.run_seconds, "tokens": arm.tokens},
        }
        row |= {f"{prefix}_{name}": value for name, value in values.items()}
    difference = pair.difference
    if difference:
        row |= {"paired_seeds": difference.n, "difference": difference.mean}
        row |= {"difference_low": difference.low, "difference_high": difference.high}
    return row


def _about(runs: Runs, groups: dict[tuple[str, str], list[Pair]]) -> str:
    methods = {of(pair).method for own in groups.values() for pair in own for of in ARMS.values()}
    rows = runs.finetuned[runs.finetuned["method"].isin(methods)]
    return (
        f"{footnotes.measured(rows, 'fine-tunings')} The two methods of a row have the same kind, recipe and options, "
        "but for their learning rates: the one named first is trained with one rate from the config; each run of the "
        "other trains with every rate of its budget and keeps the one that is best on a tuning part of its own "
        "training rows. Validation scores: the median over seeds, in brackets the 95 % interval of the mean over them "
        "(Student t), and the number of seeds n; one seed gives no interval. `Budget minus one`: mean of the "
        "differences on the seeds that both have, with its interval over these seeds. Ranks are by the median, among "
        "the methods of the same task and model. `Training`: median seconds over seeds, for the budget those of the "
        "kept rate times the number of rates, for each does the same steps. `Tokens read`: how many times the tokens "
        "of one rate the budget reads in training. A dash: not measured, or not finished."
    )


HEADS = (
    *("Methods", "Kind", "One rate", "Score, one rate", "Budget", "Chosen", "Score, budget", "Budget minus one"),
    *("Rank, one rate", "Rank, budget", "Training, one rate (s)", "Training, budget (s)", "Tokens read"),
)


def _section(runs: Runs, task: str, model: str, own: Sequence[Pair]) -> Section:
    rows = [_text(runs, pair, own) for pair in own]
    for majority in majority_scores(runs, task, model, [of(pair).cell for pair in own for of in ARMS.values()]):
        score = number(majority.score)
        cells = {"Methods": majority.name, "Score, one rate": score, "Score, budget": score}
        rows.append([cells.get(head, "") for head in HEADS])
    heading = f"{task}, {runs.title(model)} ({METRICS[runs.metric(task)]})"
    return Section(heading, HEADS, rows, text=("Kind", "Budget", "Chosen"))


def _text(runs: Runs, pair: Pair, own: Sequence[Pair]) -> list[str]:
    scores = {
        name: f"{score_text(of(pair).score)}{marks(runs, of(pair).cell, pair.model)}" for name, of in ARMS.items()
    }
    ranks = [rank(pair, own, of) for of in ARMS.values()]
    ratio = pair.budget.tokens / pair.one.tokens if pair.budget.tokens and pair.one.tokens else None
    chosen = chosen_rates(runs, pair.budget.cell, pair.model)
    return [
        f"{pair.one.method} / {pair.budget.method}",
        _kind(runs, pair.one.method),
        f"{pair.one.rates[0]:g}",
        scores["one"],
        rates_text(pair.budget.rates),
        chosen_text(chosen) if chosen else ABSENT,
        scores["budget"],
        difference_text(pair.difference),
        *(ABSENT if place is None else str(place) for place in ranks),
        *(number(of(pair).train_seconds, 1) for of in ARMS.values()),
        ABSENT if ratio is None else f"{ratio:.2f} ×",
    ]


def _kind(runs: Runs, method: str) -> str:
    """`lora, rank 8, alpha 16, attention`; the recipe where there is a choice of several."""
    parts = [runs.kinds[method]]
    for name in OPTIONS:
        value = runs.setting(method, name)
        if value is not None and not (name == "targets" and runs.kinds[method] in WITHOUT_TARGETS):
            text = f"{value:g}" if isinstance(value, float) else str(value)
            parts.append(text if name in ("targets", "storage") else f"{name.replace('_', ' ')} {text}")
    recipe = runs.setting(method, "recipe")
    if runs.kinds[method] == FULL:
        parts.append(f"recipe {recipe}")
    elif recipe == AS_PUBLISHED:
        parts.append("as published")
    return ", ".join(parts)


# --- footnotes ------------------------------------------------------------------------------------------------------


def _notes(runs: Runs, groups: dict[tuple[str, str], list[Pair]]) -> list[str]:
    every = [pair for own in groups.values() for pair in own]
    cells = list(dict.fromkeys(of(pair).cell for pair in every for of in ARMS.values()))
    used = {pair.model for pair in every}
    notes = [
        f"`{model}` was not pretrained here: `{origin}`." for model, origin in runs.origins.items() if model in used
    ]
    notes += [note for (task, model), own in groups.items() for note in _ranking(runs, task, model, own)]
    notes += [_one_rate(every), _budgets(every), *_edges(runs, every), *_same_choice(runs, every)]
    notes += [*_rows(runs, every), *_costs(every), *_left_out(every)]
    notes += footnotes.degenerate(runs, cells, runs.title) + majority_notes(runs, cells)
    return notes + footnotes.sampling(runs, cells) + footnotes.unfinished(runs)


def _ranking(runs: Runs, task: str, model: str, own: Sequence[Pair]) -> list[str]:
    """Whether the order of the methods depends on the protocol, and whether the data show that."""
    known, changed = finished(own), swapped(own)
    if len(known) < 2:
        return []
    where = f"**{task}, {runs.title(model)}:**"
    orders = [_order(known, of) for of in ARMS.values()]
    if not changed:
        return [
            f"{where} no two of the {len(known)} methods change places with the protocol. One rate: {orders[0]}; "
            f"budget: {orders[1]}."
        ]
    places = listing([f"`{a.one.method}` with `{b.one.method}`" for a, b in changed])
    shown = sum(both_orders_shown(a, b) for a, b in changed)
    return [
        f"{where} the order changes with the protocol. One rate: {orders[0]}; budget: {orders[1]}. Changed places: "
        f"{places}; in {shown} of these {len(changed)} pairs the intervals of the paired differences show the order "
        "under both protocols."
    ]


def _order(known: Sequence[Pair], of: Callable[[Pair], Arm]) -> str:
    ordered = sorted(known, key=lambda pair: -of(pair).median)
    return ", ".join(f"`{of(pair).method}` {number(of(pair).median)}" for pair in ordered)


def _one_rate(every: Sequence[Pair]) -> str:
    by_rate: dict[float, dict[str, None]] = {}
    for pair in every:
        by_rate.setdefault(pair.one.rates[0], {})[f"`{pair.one.method}`"] = None
    if len(by_rate) == 1:
        return (
            f"One rate: {next(iter(by_rate)):g} for every method, as in the published study of OPT's adapters. A "
            "method that needs another one scores below what it can do, so these ranks are no ranking of methods."
        )
    parts = [f"{rate:g} for {listing(list(methods))}" for rate, methods in by_rate.items()]
    return (
        f"The one rate differs between methods ({'; '.join(parts)}), unlike in the published study of OPT's adapters: "
        "these ranks also depend on how well each rate was set, of which the records say nothing."
    )


def _budgets(every: Sequence[Pair]) -> str:
    by_count: dict[int, dict[str, None]] = {}
    for pair in every:
        by_count.setdefault(len(pair.budget.rates), {})[f"`{pair.budget.method}`"] = None
    if len(by_count) == 1:
        return f"Same budget: each run of every method chooses between {next(iter(by_count))} rates of its own method."
    parts = [f"{rates} for {listing(list(methods))}" for rates, methods in by_count.items()]
    return f"Budgets are not equal, and a larger one is an advantage: {'; '.join(parts)} rates."


def _edges(runs: Runs, every: Sequence[Pair]) -> list[str]:
    """Where the best rate may lie outside the budget."""
    found: dict[str, None] = {}
    for pair in every:
        chosen = chosen_rates(runs, pair.budget.cell, pair.model)
        for rate, which in ((min(pair.budget.rates), "smallest"), (max(pair.budget.rates), "largest")):
            if 2 * chosen[rate] > chosen.total():
                where = f"{pair.task}, {runs.title(pair.model)}"
                found[f"`{pair.budget.method}` the {which} ({where}: {chosen[rate]} of {chosen.total()})"] = None
    if not found:
        return []
    return [
        f"Most runs chose an end of their budget, so that a better rate may lie outside it: {listing(list(found))}."
    ]


def _same_choice(runs: Runs, every: Sequence[Pair]) -> list[str]:
    """Whether the budget could choose the one rate, and how often it did."""
    missing = list(
        dict.fromkeys(f"`{pair.budget.method}`" for pair in every if pair.one.rates[0] not in pair.budget.rates)
    )
    notes = [f"The one rate is not among the rates of {listing(missing)}."] if missing else []
    offered = [pair for pair in every if pair.one.rates[0] in pair.budget.rates]
    chosen = [chosen_rates(runs, pair.budget.cell, pair.model) for pair in offered]
    times = sum(rates[pair.one.rates[0]] for pair, rates in zip(offered, chosen))
    total = sum(rates.total() for rates in chosen)
    if total:
        notes.append(f"Where the one rate was among them, {times} of {total} runs with a budget chose it.")
    return notes


def _rows(runs: Runs, every: Sequence[Pair]) -> list[str]:
    """The budget pays for its choice with training rows."""
    found: dict[str, None] = {}
    for pair in every:
        of_one, of_budget = (runs.typical(of(pair).cell, pair.model, "metric.train_rows") for of in ARMS.values())
        if of_one is not None and of_budget is not None and of_one != of_budget:
            found[f"{count(of_budget)} instead of {count(of_one)} ({pair.task})"] = None
    if not found:
        return []
    return [f"Runs with a budget train on fewer rows, for the others choose the rate: {listing(list(found))}."]


def _costs(every: Sequence[Pair]) -> list[str]:
    """What the budget costs more, summed over the methods; each with its median run."""
    notes = []
    for what, value in (("training", "train_seconds"), ("whole runs, evaluation included", "run_seconds")):
        known = [
            (getattr(pair.one, value), getattr(pair.budget, value))
            for pair in every
            if getattr(pair.one, value) and getattr(pair.budget, value)
        ]
        if known:
            one, budget = (sum(column) for column in zip(*known))
            notes.append(f"{what} {one:,.0f} s with one rate, {budget:,.0f} s with the budget ({budget / one:.1f} ×)")
    if not notes:
        return []
    return [f"Cost, summed over the rows of this table, one seed each: {'; '.join(notes)}."]


def _left_out(every: Sequence[Pair]) -> list[str]:
    others = dict.fromkeys(f"`{method}`" for pair in every for method in pair.others)
    if not others:
        return []
    return [
        f"Left out: {listing(list(others))}. Of several methods that differ in their rates alone, the table has the "
        "one with the rate, or the number of rates, that most methods share."
    ]
