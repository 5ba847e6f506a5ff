"""How learning rates were chosen: one in the config, or the best of several by each run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from electralab.report.runs import Arm, Runs
from electralab.report.text import listing


def learning_rates(runs: Runs, method: str) -> tuple[float, ...]:
    """The rates that each run of a method chooses from; none for a method that is not trained."""
    value = runs.setting(method, "learning_rates")
    return () if value is None else tuple(float(rate) for rate in str(value).split(";"))


def chosen_rates(runs: Runs, arms: Iterable[Arm]) -> Counter[float]:
    """In how many finished runs each rate was chosen."""
    rows = runs.rows_of(arms)
    return Counter(float(rate) for rate in rows.get("metric.learning_rate", pd.Series(dtype=float)).dropna())


def learning_rate_notes(runs: Runs, arms: Sequence[Arm]) -> list[str]:
    """Each method's learning rate, how it was chosen, and whether the methods had the same chances."""
    by_rates: dict[tuple[float, ...], list[str]] = {}
    for method in dict.fromkeys(cell.method for cell, _ in arms):
        rates = learning_rates(runs, method)
        if rates:
            by_rates.setdefault(rates, []).append(method)
    if not by_rates:
        return []
    parts = [_choice(runs, rates, methods, arms) for rates, methods in by_rates.items()]
    notes = [f"Learning rates: {'; '.join(parts)}."]
    trained = [method for methods in by_rates.values() for method in methods]
    if len(trained) < 2:
        return notes
    if len(by_rates) == 1 and len(next(iter(by_rates))) == 1:
        return [
            *notes,
            "One learning rate for all methods, as in the published study of OPT's adapters: a method that needs "
            "another one scores below what it can do, so this is no ranking of methods.",
        ]
    budgets = {len(rates) for rates in by_rates}
    if len(budgets) == 1 and budgets != {1}:
        notes.append(
            f"Same budget for all methods: each run chose between {budgets.pop()} learning rates of its method."
        )
    elif len(budgets) > 1:
        notes.append("Methods with more learning rates to choose from had the larger budget.")
    return notes


def _choice(runs: Runs, rates: tuple[float, ...], methods: Sequence[str], arms: Sequence[Arm]) -> str:
    who = listing([f"`{method}`" for method in methods])
    if len(rates) == 1:
        return f"{rates[0]:g}, set in the config, for {who}"
    chosen = chosen_rates(runs, (arm for arm in arms if arm[0].method in methods))
    return (
        f"the best of {len(rates)} ({rates_text(rates)}) on a tuning part of each run's own training rows for {who} "
        f"(chosen: {chosen_text(chosen)})"
    )


def rates_text(rates: Sequence[float]) -> str:
    """`0.0003 and 0.001`."""
    return listing([f"{rate:g}" for rate in rates])


def chosen_text(chosen: Counter[float]) -> str:
    """`0.0003 in 1 run and 0.001 in 2 runs`."""
    return listing([f"{rate:g} in {runs} run{'s' if runs > 1 else ''}" for rate, runs in sorted(chosen.items())])
