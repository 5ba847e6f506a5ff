"""Table `search`: the best trials of every search over a method's options, and what the median trial gives."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import pandas as pd

from electralab.report.details.searches import COLUMNS
from electralab.report.grid import Section, Table
from electralab.report.results import Results
from electralab.report.text import ABSENT, count, listing, number

BEST = 10  # trials that the Markdown shows; the CSV has all
PARAM, IMPORTANCE = "param.", "importance."


def table(results: Results) -> Table:
    """What the searches found; then for each its best trials and the importance of its options.

    Raises:
        UserError: there is no trial.
    """
    trials = searched(results)
    names = list(dict.fromkeys(trials["search"]))
    ranked = pd.concat([_ranked(trials[trials["search"] == name]) for name in names])
    sections = [Section("Searches", OVERVIEW, [_overview(name, of(ranked, name)) for name in names])]
    notes = _notes({name: of(ranked, name) for name in names})
    for name in names:
        own = of(ranked, name)
        if (own["status"] == "ok").any():
            sections.append(_best(name, own))
        if importances(own):
            sections.append(_importances(name, own))
    notes.append(
        "Trials train on nine tenths of the training rows, or a sample of them, and are scored on the others, the "
        "tuning rows. The best score was chosen there among the trials: expect less on other rows, and the less the "
        "more trials there were. The winner was run once more, as its method is run elsewhere, and scored on the "
        "validation rows, which chose nothing; that is one run of one seed. Compare methods by runs of their own, over "
        "seeds."
    )
    answer = [line for name in names for line in _answer(name, of(ranked, name))]
    return Table("Searches", _about(trials), ranked, sections, notes, answer)


def searched(results: Results) -> pd.DataFrame:
    """The trials, of which there must be one.

    Raises:
        UserError: the file of trials is missing, damaged or empty.
    """
    trials = results.detail("searches")
    if trials.empty:
        raise results.nothing("trial of a search (`run.searches`)")
    return trials


def of(trials: pd.DataFrame, name: str) -> pd.DataFrame:
    """The trials of one search."""
    return trials[trials["search"] == name]


def options(own: pd.DataFrame, prefix: str = PARAM) -> list[str]:
    """The options that one search has a value for."""
    filled = [column for column in own.columns if column.startswith(prefix) and own[column].notna().any()]
    return [column.removeprefix(prefix) for column in filled]


def importances(own: pd.DataFrame) -> dict[str, float]:
    """Share of the variance between trials by option (fANOVA, Hutter et al. 2014), largest first."""
    shares = {name: float(own[f"{IMPORTANCE}{name}"].dropna().iloc[0]) for name in options(own, IMPORTANCE)}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _ranked(own: pd.DataFrame) -> pd.DataFrame:
    """Finished trials by score, best first and numbered from 1, then the others in their order."""
    finished = own[own["status"] == "ok"].sort_values(["score", "trial"], ascending=[False, True])
    finished = finished.assign(place=range(1, len(finished) + 1))
    rest = own[own["status"] != "ok"].sort_values("trial").assign(place=None)
    columns = ["search", "place", *COLUMNS[1:]]
    found = pd.concat([finished, rest.astype({"place": "object"})]) if len(rest) else finished
    return found[[*columns, *(name for name in own.columns if name not in columns)]].astype({"place": "Int64"})


OVERVIEW = (
    *("Search", "Trials", "Finished", "Pruned", "Failed", "Best", "Median"),
    *("Winner on validation rows", "Minutes"),
)


def _overview(name: str, own: pd.DataFrame) -> list[str]:
    scores = list(own.loc[own["status"] == "ok", "score"])
    values = [number(value) for value in (max(scores), median(scores))] if scores else [ABSENT] * 2
    counts = [str(int((own["status"] == status).sum())) for status in ("ok", "pruned", "failed")]
    minutes = number(own["seconds"].sum() / 60, 1)
    return [name, str(len(own)), *counts, *values, _validated(own), minutes]


def _validated(own: pd.DataFrame) -> str:
    """The winner's score on the validation rows; a dash where that run came to nothing, or nothing won."""
    found = own.dropna(subset=["validation_score"])
    return ABSENT if found.empty else number(found.iloc[0]["validation_score"])


def _best(name: str, own: pd.DataFrame) -> Section:
    finished = own[own["status"] == "ok"].head(BEST)
    names = options(own)
    heads = ["Trial", "Score", "Seconds", *names]
    rows = [
        [
            *(str(row["trial"]), number(row["score"]), number(row["seconds"], 1)),
            *(_value(row[f"{PARAM}{option}"]) for option in names),
        ]
        for row in finished.to_dict("records")
    ]
    return Section(f"{name}: best trials", heads, rows)


def _importances(name: str, own: pd.DataFrame) -> Section:
    shares = importances(own)
    rows = [[option, f"{100 * share:.1f}"] for option, share in shares.items()]
    return Section(f"{name}: importance of the options", ["Option", "% of the variance"], rows)


def _value(value: Any) -> str:
    if pd.isna(value):
        return ABSENT
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _answer(name: str, own: pd.DataFrame) -> list[str]:
    """The best trial beside the median one, and the option that explains most."""
    finished = own[own["status"] == "ok"]
    if finished.empty:
        return [f"**{name}:** no trial is finished."]
    best = finished.iloc[0]
    drawn = ", ".join(f"{option} {_value(best[f'{PARAM}{option}'])}" for option in options(own))
    middle = f"median of {len(finished)} {number(median(finished['score']))}"
    rows = f" ({_rows(best)})" if pd.notna(best["validation_score"]) else ""
    text = (
        f"**{name}:** best {number(best['score'])} on tuning rows with {drawn}; {middle}; the best run once more: "
        f"{_validated(own)} on the validation rows{rows}."
    )
    shares = importances(own)
    if shares:
        option, share = next(iter(shares.items()))
        text += f" {option} explains most, {100 * share:.0f} % of the variance between trials."
    return [text]


def _rows(best: Mapping[Any, Any] | pd.Series) -> str:
    """How many rows the winner was scored on, and how many of them a model can have learnt by heart."""
    overlap = best["overlap_rows"]
    also = f", {count(overlap)} of them also training rows" if pd.notna(overlap) else ""
    return f"{count(best['validation_rows'])} rows{also}"


def _about(trials: pd.DataFrame) -> str:
    names = [f"`{name}`" for name in dict.fromkeys(trials["search"])]
    return (
        f"{len(trials)} trials of {listing(names)}, each from a fresh model; scores on tuning rows. Best and "
        "median are over finished trials; a pruned trial was stopped early because it was behind. "
        "Importance: share of the variance of the score between trials that an option explains by itself (fANOVA)."
    )


def _notes(every: Mapping[str, pd.DataFrame]) -> list[str]:
    notes = []
    for status, what in (("failed", "Failed"), ("pruned", "Stopped early")):
        numbers = {
            name: [str(trial) for trial in own.loc[own["status"] == status, "trial"]] for name, own in every.items()
        }
        parts = [f"{name} trial {listing(trials)}" for name, trials in numbers.items() if trials]
        notes += [f"{what}, and in no median: {'; '.join(parts)}."] if parts else []
    finished = {name: int((own["status"] == "ok").sum()) for name, own in every.items()}
    seeds = {name: sorted({str(seed) for seed in own["seed"]}) for name, own in every.items()}
    parts = [f"{name} seed {of[0]}" for name, of in seeds.items() if len(of) == 1 and finished[name] > 1]
    if parts:
        notes.append(
            f"One seed for all trials ({listing(parts)}), one run an option: differences as small as the scatter over "
            "seeds mean nothing."
        )
    parts = [
        f"{name} ({finished[name]} trials of {len(options(own))} options)"
        for name, own in every.items()
        if finished[name] and importances(own) and finished[name] < 10 * len(options(own))
    ]
    if parts:
        notes.append(
            f"Importances are rough: {listing(parts)}. They need not add up to 100 %: the rest is options together."
        )
    return notes
