"""Table `pretraining`: what each pretraining learnt and what it cost."""

from __future__ import annotations

from typing import Any, NamedTuple

from electralab.report import answers, footnotes
from electralab.report.grid import Column, Table, frame, section, summary_columns
from electralab.report.results import Results
from electralab.report.runs import Runs, percent
from electralab.report.statistics.intervals import Summary, summarize
from electralab.report.text import count, listing, number, with_interval

METRICS = (
    "mlm_loss",
    "unigram_cross_entropy",
    "mlm_accuracy",
    "sampled_accuracy",
    "rtd_auc",
    "rtd_auc_unigram",
    "rtd_loss",
    "rtd_base_entropy",
    "rtd_base_rate",
    "rtd_accuracy",
    "rtd_precision",
    "rtd_recall",
    "rtd_balanced_accuracy",
    "rtd_recall_at_base_rate",
    "rtd_balanced_accuracy_at_base_rate",
    "tokens_per_second",
)
COSTS = ("tokens", "cpu_seconds", "wall_seconds")
GAIN = "mlm_gain"


class Pretrained(NamedTuple):
    """One model with every quantity over its seeds."""

    model: str
    label: str
    seeds: int
    of: dict[str, Summary]

    def mean(self, metric: str) -> float | None:
        """The mean over seeds; None for what was not measured."""
        return self.of[metric].mean if metric in self.of else None


class Measured(NamedTuple):
    """One line of the CSV."""

    model: Pretrained
    metric: str


def table(results: Results) -> Table:
    """What each pretraining learnt: generator, discriminator, cost; one row a model, then every seed.

    Raises:
        UserError: the experiment has no pretraining.
    """
    runs = results.pretrained
    models = _models(runs)
    lines = [Measured(model, metric) for model in models for metric in model.of]
    return Table(
        "Pretraining",
        f"{footnotes.measured(runs.pretrained, 'pretrainings')} Held-out documents at the end of training; mean over "
        f"seeds, in brackets its 95 % interval (Student t).",
        frame(lines, _csv(runs)),
        [section("Quality", models, QUALITY), section("Cost of one run", models, COST), *footnotes.failed(runs)],
        _notes(runs),
        answers.learnt(runs),
    )


def _models(runs: Runs) -> list[Pretrained]:
    summaries = {metric: runs.summaries(metric) for metric in METRICS}
    found = []
    for model in runs.models:
        own = runs.pretrained[runs.pretrained["model"] == model]
        of = {metric: of_model[model] for metric, of_model in summaries.items() if model in of_model}
        of[GAIN] = summarize(list(own["metric.unigram_cross_entropy"] - own["metric.mlm_loss"]))
        of |= {name: summarize(list(own[f"cost.{name}"])) for name in COSTS}
        found.append(Pretrained(model, runs.title(model), len(own), of))
    return found


def _csv(runs: Runs) -> list[Column[Measured]]:
    def of_run(name: str) -> Any:
        first = runs.pretrained.drop_duplicates("model").set_index("model")[name]
        return lambda line: first[line.model.model]

    return [
        Column("row", lambda line: line.model.label),
        Column("model", lambda line: line.model.model),
        Column("control", lambda line: runs.is_control(line.model.model)),
        *(Column(name, of_run(name)) for name in ("generator_size", "recipe", "extensions")),
        Column("metric", lambda line: line.metric),
        *summary_columns(lambda line: line.model.of[line.metric]),
    ]


LABEL: Column[Pretrained] = Column("", lambda model: model.label, "Model")
QUALITY: list[Column[Pretrained]] = [
    LABEL,
    Column("", lambda model: model.seeds, "Seeds"),
    Column("", lambda model: model.of.get("mlm_loss"), "MLM loss (nat)", with_interval),
    Column("", lambda model: model.mean(GAIN), "Below unigram (nat)", lambda value: number(value, 2)),
    Column("", lambda model: model.mean("mlm_accuracy"), "MLM accuracy", number),
    Column("", lambda model: model.of.get("rtd_auc"), "AUC, own generator", with_interval),
    Column("", lambda model: model.of.get("rtd_auc_unigram"), "AUC, unigram replacements", with_interval),
    Column(
        "",
        lambda model: (model.mean("rtd_loss"), model.mean("rtd_base_entropy")),
        "RTD loss / base-rate entropy",
        lambda values: " / ".join(map(number, values)),
    ),
    Column("", lambda model: model.mean("rtd_recall_at_base_rate"), "Recall at base rate", number),
]
COST: list[Column[Pretrained]] = [
    LABEL,
    Column("", lambda model: model.mean("tokens"), "Tokens", count),
    Column("", lambda model: model.mean("cpu_seconds"), "CPU seconds", count),
    Column("", lambda model: model.mean("wall_seconds"), "Wall seconds", count),
    Column("", lambda model: model.mean("tokens_per_second"), "Tokens per second", count),
]


def _notes(runs: Runs) -> list[str]:
    notes = [footnotes.extensions(runs), *answers.no_better_than_a_constant(runs)]
    notes += footnotes.together(line for sweep in runs.sweeps for line in answers.ordered_sizes(runs, sweep))
    notes.append(
        "AUC on the own generator is not comparable between sizes: each generator sets its own exam. Unigram "
        "replacements are the same exam for all. `Below unigram`: held-out unigram cross-entropy minus MLM loss. "
        "Recall is at the threshold that flags as many tokens as were replaced."
    )
    kept = sorted(runs.told(runs.pretrained, "keep_probability"))
    if any(kept):
        shares = listing([percent(share) for share in kept])
        notes.append(f"{shares} of the MLM targets are shown unmasked, in every row alike; MLM loss includes them.")
    return notes
