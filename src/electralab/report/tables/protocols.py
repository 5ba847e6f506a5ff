"""Table `protocols`: one learning rate set in the config, against the best of several that each run chooses itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from electralab.report import footnotes
from electralab.report.entries import AS_PUBLISHED, OPTIONS, method_order
from electralab.report.grid import Column, Section, Table, frame, section, summary_columns
from electralab.report.learning_rates import chosen_rates, chosen_text, rates_text
from electralab.report.protocols import SIDES, Pair, Side, both_orders_shown, finished, pairs, rank, swapped
from electralab.report.results import Results
from electralab.report.runs import FULL, METRICS, Arm, Runs
from electralab.report.tables.score_cells import difference_cell, majority_scores, score_text
from electralab.report.text import ABSENT, count, listing, number

# `targets` means nothing to them (`electralab.config.adapters`).
WITHOUT_TARGETS = ("linear_probe", "prefix", "prompt", "ia3")
TITLE = "One learning rate, or a budget of them"


class Line(NamedTuple):
    """A pair among the others of its task and model, which its ranks depend on."""

    pair: Pair
    own: Sequence[Pair]


def table(results: Results) -> Table:
    """A section for every task and model, a row for every method that was run under both protocols.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs = results.finetuned
    groups = _groups(runs)
    numbers = frame([Line(pair, own) for own in groups.values() for pair in own], _csv(runs))
    if not groups:
        about = (
            "No method of this experiment was run both with one learning rate and with several to choose from, its "
            "other options being equal: there is nothing to compare."
        )
        return Table(TITLE, about, numbers, footnotes.failed(runs))
    sections = [part for (task, model), own in groups.items() for part in _sections(runs, task, model, own)]
    answer = [note for (task, model), own in groups.items() for note in _ranking(runs, task, model, own)]
    sections += footnotes.failed(runs)
    return Table(TITLE, _about(runs, groups), numbers, sections, _notes(runs, groups), answer)


def _groups(runs: Runs) -> dict[tuple[str, str], list[Pair]]:
    """Pairs by task and model, methods in the order of the table `adapters`."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in sorted(pairs(runs), key=lambda pair: method_order(runs, pair.one.method)):
        groups.setdefault((pair.task, pair.model), []).append(pair)
    tasks = list(dict.fromkeys(cell.task for cell in runs.cells))
    return dict(sorted(groups.items(), key=lambda at: (tasks.index(at[0][0]), runs.finetuned_models.index(at[0][1]))))


def _csv(runs: Runs) -> list[Column[Line]]:
    def setting(name: str) -> Column[Line]:
        return Column(name, lambda line: runs.setting(line.pair.one.method, name))

    def of_task(name: str) -> Column[Line]:
        return Column(name, lambda line: runs.typical(line.pair.one.cell, line.pair.model, f"metric.{name}"))

    return [
        Column("row", lambda line: runs.title(line.pair.model)),
        Column("model", lambda line: line.pair.model),
        Column("task", lambda line: line.pair.task),
        Column("kind", lambda line: runs.kinds[line.pair.one.method]),
        *map(setting, ("recipe", *OPTIONS)),
        Column("metric", lambda line: runs.metric(line.pair.task)),
        *map(of_task, ("majority_rate", "validation_rows")),
        *(column for name, of in SIDES.items() for column in _csv_of_side(runs, name, of)),
        Column("paired_seeds", lambda line: line.pair.difference and line.pair.difference.seeds),
        Column("difference", lambda line: line.pair.difference and line.pair.difference.mean),
        Column("difference_low", lambda line: line.pair.difference and line.pair.difference.low),
        Column("difference_high", lambda line: line.pair.difference and line.pair.difference.high),
    ]


def _csv_of_side(runs: Runs, prefix: str, of: Callable[[Pair], Side]) -> list[Column[Line]]:
    def column(name: str, value: Callable[[Side, str], Any]) -> Column[Line]:
        return Column(f"{prefix}_{name}", lambda line: value(of(line.pair), line.pair.model))

    def chosen(side: Side, model: str) -> str:
        rates = chosen_rates(runs, [(side.cell, model)])
        return ";".join(f"{rate:g}:{times}" for rate, times in sorted(rates.items()))

    return [
        column("method", lambda side, _: side.method),
        column("learning_rates", lambda side, _: ";".join(f"{rate:g}" for rate in side.rates)),
        column("chosen", chosen),
        *summary_columns(lambda line: of(line.pair).score, f"{prefix}_"),
        Column(f"{prefix}_rank", lambda line: rank(line.pair, line.own, of)),
        column("degenerate_runs", lambda side, model: runs.degenerate_runs(side.cell, model)),
        column("at_or_below_majority", lambda side, model: runs.at_majority(side.cell, model)),
        column("train_rows", lambda side, model: runs.typical(side.cell, model, "metric.train_rows")),
        column("train_seconds", lambda side, _: side.train_seconds),
        column("run_seconds", lambda side, _: side.run_seconds),
        column("tokens", lambda side, _: side.tokens),
    ]


def _about(runs: Runs, groups: dict[tuple[str, str], list[Pair]]) -> str:
    rows = runs.rows_of(_arms([pair for own in groups.values() for pair in own]))
    return (
        f"{footnotes.measured(rows, 'fine-tunings')} Validation scores: mean over seeds, in brackets its 95 % interval "
        "(Student t), n seeds; one seed has no interval. `Budget minus one`: their difference on the seeds and rows "
        "that both have; its 95 % interval covers both. Ranks are by the mean, among the methods of the same task and "
        "model. `Training`: median seconds over seeds, of all rates. `Tokens read`: how many times the tokens of one "
        "rate the budget reads in training. A dash: not measured, or not finished."
    )


def _sections(runs: Runs, task: str, model: str, own: Sequence[Pair]) -> list[Section]:
    lines = [Line(pair, own) for pair in own]
    heading = f"{task}, {runs.title(model)}"
    scores = section(f"{heading} ({METRICS[runs.metric(task)]})", lines, _score_columns(runs))
    for majority in majority_scores(runs, task, model, [of(pair).cell for pair in own for of in SIDES.values()]):
        score = number(majority.score)
        scores = scores.plus({"Methods": majority.name, "Score, one rate": score, "Score, budget": score})
    return [scores, section(f"{heading}: rates and cost", lines, _cost_columns(runs))]


METHODS: Column[Line] = Column("", lambda line: f"{line.pair.one.method} / {line.pair.budget.method}", "Methods")


def _score_columns(runs: Runs) -> list[Column[Line]]:
    def score(of: Callable[[Pair], Side]) -> Callable[[Line], str]:
        return lambda line: (
            f"{score_text(of(line.pair).score)}{footnotes.mark(runs, (of(line.pair).cell, line.pair.model))}"
        )

    def place(of: Callable[[Pair], Side]) -> Callable[[Line], Any]:
        return lambda line: rank(line.pair, line.own, of) or ABSENT

    return [
        METHODS,
        Column("", lambda line: _kind(runs, line.pair.one.method), "Kind", left=True),
        Column("", score(SIDES["one"]), "Score, one rate"),
        Column("", score(SIDES["budget"]), "Score, budget"),
        Column("", lambda line: line.pair.difference, "Budget minus one", difference_cell),
        Column("", place(SIDES["one"]), "Rank, one rate"),
        Column("", place(SIDES["budget"]), "Rank, budget"),
    ]


def _cost_columns(runs: Runs) -> list[Column[Line]]:
    def chosen(line: Line) -> str:
        rates = chosen_rates(runs, [(line.pair.budget.cell, line.pair.model)])
        return chosen_text(rates) if rates else ABSENT

    def ratio(line: Line) -> str:
        one, budget = line.pair.one.tokens, line.pair.budget.tokens
        return f"{budget / one:.2f} ×" if one and budget else ABSENT

    return [
        METHODS,
        Column("", lambda line: f"{line.pair.one.rates[0]:g}", "One rate"),
        Column("", lambda line: rates_text(line.pair.budget.rates), "Budget", left=True),
        Column("", chosen, "Chosen", left=True),
        Column("", lambda line: line.pair.one.train_seconds, "Training, one rate (s)", lambda value: number(value, 1)),
        Column("", lambda line: line.pair.budget.train_seconds, "Training, budget (s)", lambda value: number(value, 1)),
        Column("", ratio, "Tokens read"),
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
    notes = [
        "The two methods of a row have the same kind, recipe and options, but for their learning rates: the first is "
        "trained with one rate from the config; each run of the other trains with every rate of its budget and keeps "
        "the one that is best on a tuning part of its own training rows.",
        f"{_one_rate(every)} {_budgets(every)}",
    ]
    chosen = _edges(runs, every) + _same_choice(runs, every)
    costs = _rows(runs, every) + _costs(every) + _left_out(every)
    notes += [" ".join(said) for said in (chosen, costs) if said]
    return notes + footnotes.marked(runs, _arms(every))


def _arms(every: Sequence[Pair]) -> list[Arm]:
    return list(dict.fromkeys((of(pair).cell, pair.model) for pair in every for of in SIDES.values()))


def _ranking(runs: Runs, task: str, model: str, own: Sequence[Pair]) -> list[str]:
    """Whether the order of the methods depends on the protocol, and whether the data show that."""
    known, changed = finished(own), swapped(own)
    if len(known) < 2:
        return []
    where = f"**{task}, {runs.title(model)}:**"
    orders = [_order(known, of) for of in SIDES.values()]
    if not changed:
        return [
            f"{where} no two of the {len(known)} methods change places with the protocol. One rate: {orders[0]}; "
            f"budget: {orders[1]}."
        ]
    places = listing([f"`{a.one.method}` with `{b.one.method}`" for a, b in changed])
    shown = sum(both_orders_shown(runs, a, b) for a, b in changed)
    return [
        f"{where} the order changes with the protocol. One rate: {orders[0]}; budget: {orders[1]}. Changed places: "
        f"{places}; in {shown} of these {len(changed)} pairs the intervals of the paired differences show the order "
        "under both protocols."
    ]


def _order(known: Sequence[Pair], of: Callable[[Pair], Side]) -> str:
    ordered = sorted(known, key=lambda pair: -of(pair).mean)
    return ", ".join(f"`{of(pair).method}` {number(of(pair).mean)}" for pair in ordered)


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
        chosen = chosen_rates(runs, [(pair.budget.cell, pair.model)])
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
    chosen = [chosen_rates(runs, [(pair.budget.cell, pair.model)]) for pair in offered]
    times = sum(rates[pair.one.rates[0]] for pair, rates in zip(offered, chosen))
    total = sum(rates.total() for rates in chosen)
    if total:
        notes.append(f"Where the one rate was among them, {times} of {total} runs with a budget chose it.")
    return notes


def _rows(runs: Runs, every: Sequence[Pair]) -> list[str]:
    """The budget pays for its choice with training rows."""
    found: dict[str, None] = {}
    for pair in every:
        of_one, of_budget = (runs.typical(of(pair).cell, pair.model, "metric.train_rows") for of in SIDES.values())
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
