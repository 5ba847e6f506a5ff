"""Table `pretraining`: what each pretraining learnt and what it cost."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from electralab.report import footnotes
from electralab.report.markdown import ABSENT, Section, Table, count, listing, number, summary_columns, with_interval
from electralab.report.runs import COMPARED, Runs, percent
from electralab.report.statistics import Summary

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


def pretraining(runs: Runs) -> Table:
    """What each pretraining learnt: generator, discriminator, cost; one row a model, then every seed."""
    summaries = {metric: runs.summaries(metric) for metric in METRICS}
    rows, quality, cost = [], [], []
    for model in runs.models:
        of = {metric: found[model] for metric, found in summaries.items() if model in found}
        own = runs.pretrained[runs.pretrained["model"] == model]
        first = own.iloc[0]
        gain = (own["metric.unigram_cross_entropy"] - own["metric.mlm_loss"]).mean()
        rows.append(
            {
                "model": model,
                "label": runs.label(model),
                "control": runs.is_control(model),
                "extensions": first["extensions"],
                "recipe": first["recipe"],
                "generator_size": first["generator_size"],
                "seeds": len(own),
                "tokens": own["cost.tokens"].mean(),
                "mlm_gain": gain,
                **summary_columns(of),
                **{name: own[f"cost.{name}"].mean() for name in ("cpu_seconds", "wall_seconds")},
            }
        )
        quality.append(
            [
                runs.label(model),
                str(len(own)),
                with_interval(of.get("mlm_loss")),
                number(gain, 2),
                _mean(of, "mlm_accuracy"),
                with_interval(of.get("rtd_auc")),
                with_interval(of.get("rtd_auc_unigram")),
                f"{_mean(of, 'rtd_loss')} / {_mean(of, 'rtd_base_entropy')}",
                _mean(of, "rtd_recall_at_base_rate"),
                _mean(of, "rtd_balanced_accuracy_at_base_rate"),
            ]
        )
        cost.append(
            [
                runs.label(model),
                listing(first["extensions"].split(";")) if first["extensions"] else "none",
                *(count(own[f"cost.{name}"].mean()) for name in ("tokens", "cpu_seconds", "wall_seconds")),
                count(of["tokens_per_second"].mean) if "tokens_per_second" in of else ABSENT,
            ]
        )
    heads = [
        "Generator size",
        "Seeds",
        "MLM loss (nat)",
        "Below unigram (nat)",
        "MLM accuracy",
        "AUC, own generator",
        "AUC, unigram replacements",
        "RTD loss / base-rate entropy",
        "Recall at base rate",
        "Balanced accuracy at base rate",
    ]
    return Table(
        "Pretraining",
        f"{footnotes.measured(runs.pretrained, 'pretrainings')} {footnotes.extensions(runs)} "
        "Measured at the end of training on held-out documents. Mean over seeds; in brackets the 95 % interval "
        f"over seeds (Student t){_pooling(runs)}.",
        pd.DataFrame(rows),
        [
            Section("Quality", heads, quality),
            Section(
                "Cost of one run",
                ["Generator size", "Extensions", "Tokens", "CPU seconds", "Wall seconds", "Tokens per second"],
                cost,
            ),
            _every_seed(runs),
        ],
        [*_pretraining_notes(runs), *footnotes.unfinished(runs)],
    )


def _mean(summaries: Mapping[str, Summary], metric: str) -> str:
    return number(summaries[metric].mean) if metric in summaries else ABSENT


def _pooling(runs: Runs) -> str:
    """Say where the interval's scatter comes from."""
    parts = []
    for sweep in runs.sweeps:
        spread = runs.spread(sweep, "rtd_auc")
        if spread and len(runs.sizes(sweep)) > 1:
            parts.append(f"{spread.freedom} degrees of freedom in `{sweep}`")
    return f", its standard deviation pooled over the sizes of a sweep ({listing(parts)})" if parts else ""


def _every_seed(runs: Runs) -> Section:
    metrics = ("mlm_loss", "rtd_auc", "rtd_auc_unigram", "rtd_loss", "rtd_recall_at_base_rate")
    rows = [
        [runs.label(row["model"]), str(row["seed"]), *(number(row.get(f"metric.{metric}")) for metric in metrics)]
        for row in runs.pretrained.to_dict("records")
    ]
    heads = ["MLM loss", "AUC, own generator", "AUC, unigram", "RTD loss", "Recall at base rate"]
    return Section("Every seed", ["Generator size", "Seed", *heads], rows)


def _pretraining_notes(runs: Runs) -> list[str]:
    notes = footnotes.detection(runs)
    for sweep in runs.sweeps:
        for metric, what in COMPARED.items():
            notes += footnotes.ordering(runs, sweep, what, runs.summaries(metric))
    notes.append(
        "AUC on the own generator is not comparable between sizes: each generator sets its own exam. Unigram "
        "replacements are the same exam for all."
    )
    notes.append(
        "`Below unigram` is the held-out unigram cross-entropy minus the MLM loss; recall and balanced accuracy are at "
        "the threshold that flags as many tokens as were replaced."
    )
    kept = sorted(set(runs.pretrained["keep_probability"].dropna()))
    if any(kept):
        shares = listing([percent(share) for share in kept])
        notes.append(f"{shares} of the MLM targets are shown unmasked, in every row alike; MLM loss includes them.")
    return notes
