"""`runs.csv` as the tables and figures see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd

from electralab.names import NO_MODEL, parse_model, pretraining_name
from electralab.plan import DECODER_PACKAGES
from electralab.report.flatten import RUN_COLUMNS
from electralab.report.reading import read_table
from electralab.report.statistics.comparisons import Arm as ComparedArm
from electralab.report.statistics.comparisons import Comparisons, read_comparisons
from electralab.report.statistics.differences import Difference, difference_over_seeds
from electralab.report.statistics.intervals import Summary, summarize

UNTRAINED = "random initialisation"
# The metrics that tables and figures compare between pretrainings, with their names in a sentence.
COMPARED = {
    "mlm_loss": "MLM loss",
    "rtd_auc": "RTD AUC on the own generator",
    "rtd_auc_unigram": "RTD AUC on unigram replacements",
}
BASELINES = {"tfidf": "TF-IDF + linear model"}
MAJORITY = "majority class"
METRICS = {
    **{"accuracy": "accuracy", "f1": "F1", "f1_weighted": "weighted F1"},
    **{"mcc": "MCC", "pearson": "Pearson", "spearman": "Spearman"},
}
FULL = "full"  # the kind of the methods that train every parameter


@dataclass(frozen=True)
class Cell:
    """A task fine-tuned with a method: one column of scores."""

    task: str
    method: str


Arm = tuple[Cell, str]  # a task and a method, and the model: what some seeds of are a score


def percent(size: float) -> str:
    """0.125 -> `12.5 %`."""
    return f"{size * 100:g} %"


@dataclass(frozen=True)
class Runs:
    """Views of the runs table; `frame` holds every run, failed ones included."""

    frame: pd.DataFrame
    comparisons: Comparisons

    # --- stages: nothing else in the report knows how records tell them apart -------------------------------------

    @cached_property
    def pretrainings(self) -> pd.DataFrame:
        """Every pretraining, failed ones included."""
        return self.frame[self.frame["stage"] == "pretrain"]

    @cached_property
    def finetunings(self) -> pd.DataFrame:
        """Every fine-tuning and every decoder that was asked, failed ones included."""
        return self.frame[(self.frame["stage"] == "run") & (self.frame["model"] != NO_MODEL)]

    @cached_property
    def pretrained(self) -> pd.DataFrame:
        """Finished pretrainings, sweeps first and then controls, each by generator size and seed."""
        rows = _finished(self.pretrainings)
        rows = rows.assign(_control=rows["pretraining"].isin(self.controls))
        return rows.sort_values(["_control", "pretraining", "generator_size", "seed"], kind="stable")

    @cached_property
    def finetuned(self) -> pd.DataFrame:
        """Finished fine-tunings."""
        return _finished(self.finetunings)

    @cached_property
    def baseline(self) -> pd.DataFrame:
        """Finished baselines, which have no model."""
        return _finished(self.frame[self.frame["model"] == NO_MODEL])

    @cached_property
    def whole_model(self) -> Runs:
        """Without the methods that train a part of a model, or nothing: what tables about models compare."""
        part = self.finetunings[self.finetunings["kind"] != FULL]
        return Runs(self.frame.drop(index=part.index), self.comparisons)

    # --- differences: the only ones that any page shows -----------------------------------------------------------

    def difference(self, task: str, a: ComparedArm, b: ComparedArm) -> Difference | None:
        """Score of `a` minus score of `b` over their common seeds and rows; None where they share none."""
        return self.comparisons.difference(task, a, b)

    def pretraining_difference(self, metric: str, a: str, b: str) -> Difference | None:
        """A metric of pretraining of one model minus that of another, over their common seeds."""
        return difference_over_seeds(*(self._pretraining_by_seed(model, metric) for model in (a, b)))

    def _pretraining_by_seed(self, model: str, metric: str) -> dict[int, float]:
        rows = self.pretrained[self.pretrained["model"] == model]
        values = rows[f"metric.{metric}"] if f"metric.{metric}" in rows else [None] * len(rows)
        return {int(seed): float(value) for seed, value in zip(rows["seed"], values) if not pd.isna(value)}

    # --- methods and models ---------------------------------------------------------------------------------------

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind of every fine-tuning method (`electralab.config`)."""
        return dict(zip(self.finetunings["method"], self.finetunings["kind"]))

    @cached_property
    def controls(self) -> set[str]:
        """Pretrainings without any extension in an experiment whose other pretrainings have some."""
        rows = self.pretrainings
        plain = set(rows.loc[rows["extensions"] == "", "pretraining"])
        return plain if (rows["extensions"] != "").any() else set()

    @cached_property
    def decoders(self) -> set[str]:
        """Models that answer in words: of such a package, or asked in context."""
        rows = self.finetunings
        return set(rows.loc[rows["downloaded"].isin(DECODER_PACKAGES) | (rows["kind"] == "in_context"), "model"])

    @cached_property
    def models(self) -> list[str]:
        """Pretrained models in the order of the tables: by sweep and size, controls last."""
        return list(dict.fromkeys(self.pretrained["model"]))

    @cached_property
    def sweeps(self) -> list[str]:
        """Pretrainings that are not controls."""
        return [name for name in dict.fromkeys(self.pretrained["pretraining"]) if name not in self.controls]

    def is_control(self, model: str) -> bool:
        """Whether a model was pretrained without the extensions that the others use."""
        return pretraining_name(model) in self.controls

    def is_downloaded(self, model: str) -> bool:
        """Whether a model came with its weights."""
        return model in self.origins

    @cached_property
    def origins(self) -> dict[str, str]:
        """Models that came with their weights, and where they come from."""
        rows = self.frame[self.frame["downloaded"] != ""]
        return dict(zip(rows["model"], rows["downloaded"]))

    def title(self, model: str) -> str:
        """A model's name for a reader, without a comma: `tiny g25`, `tiny g25 at 50 %` of its steps."""
        if model in self.random_models:
            return UNTRAINED if len(self.random_models) == 1 else f"{UNTRAINED} {model}"
        if self.is_downloaded(model):
            return model
        name, size, done = parse_model(model)
        control = " (control)" if name in self.controls else ""
        return f"{name} g{size:g}" + ("" if done == 100 else f" at {done:g} %") + control

    def sizes(self, sweep: str) -> list[str]:
        """Models of a sweep, smallest generator first."""
        rows = self.pretrained
        return list(dict.fromkeys(rows.loc[rows["pretraining"] == sweep, "model"]))

    def summaries(self, metric: str) -> dict[str, Summary]:
        """A pretraining metric by model over seeds."""
        found = _summaries(self.pretrained, metric)
        return {model: found[model] for model in self.models if model in found}

    @cached_property
    def cells(self) -> list[Cell]:
        """Every (task, method) that was fine-tuned: human-labelled tasks first, synthetic ones last."""
        rows = self.finetunings.sort_values("synthetic", kind="stable")
        return [Cell(task, method) for task, method in dict.fromkeys(zip(rows["task"], rows["method"]))]

    @cached_property
    def pretrained_cells(self) -> list[Cell]:
        """Those cells that have a model pretrained here or an untrained one."""
        rows = self.finetunings[self.finetunings["downloaded"] == ""]
        own = set(zip(rows["task"], rows["method"]))
        return [cell for cell in self.cells if (cell.task, cell.method) in own]

    def cell_name(self, cell: Cell) -> str:
        """The task, `(synthetic)` if it is, and the method where a task has several."""
        glue = self.glue(cell.task)
        same_task = {other.task for other in self.cells if glue and self.glue(other.task) == glue}
        label = glue if len(same_task) == 1 else cell.task
        label = f"{label} (synthetic)" if self.is_synthetic(cell.task) else label
        several = len({other.method for other in self.cells if other.task == cell.task}) > 1
        return f"{label}, {cell.method}" if several else label

    def cell_label(self, cell: Cell) -> str:
        """A column heading: the cell's name, and its metric where that is not accuracy."""
        metric = self.metric(cell.task)
        return self.cell_name(cell) if metric == "accuracy" else f"{self.cell_name(cell)} ({METRICS[metric]})"

    def glue(self, task: str) -> str:
        """Which GLUE task this is; empty for any other."""
        return self._tasks.get(task, {}).get("glue", "")

    def metric(self, task: str) -> str:
        """Name of the metric behind a task's `score`."""
        return self._tasks.get(task, {}).get("primary_metric", "accuracy")

    @cached_property
    def _tasks(self) -> dict[str, dict[str, str]]:
        """What runs say about their task: the first run that says it."""
        found: dict[str, dict[str, str]] = {}
        for column in ("glue", "primary_metric"):
            for task, value in zip(self.frame["task"], self.frame[column]):
                if task and value:
                    found.setdefault(task, {}).setdefault(column, value)
        return found

    def is_synthetic(self, task: str) -> bool:
        """Whether a task's labels are made by a program."""
        return bool(self.frame.loc[self.frame["task"] == task, "synthetic"].any())

    def cell_rows(self, cell: Cell) -> pd.DataFrame:
        """Finished fine-tunings of one task with one method."""
        rows = self.finetuned
        return rows[(rows["task"] == cell.task) & (rows["method"] == cell.method)]

    def rows_of(self, arms: Iterable[Arm]) -> pd.DataFrame:
        """Finished fine-tunings of some models with some methods on some tasks."""
        wanted = {(cell.task, cell.method, model) for cell, model in arms}
        rows = self.finetuned
        keys = zip(rows["task"], rows["method"], rows["model"])
        return rows[[key in wanted for key in keys]]

    def scores(self, cell: Cell) -> dict[str, Summary]:
        """Score by model pretrained here, each with its own scatter over seeds, controls last."""
        rows = self.cell_rows(cell)
        rows = rows[~rows["random_init"] & (rows["downloaded"] == "") & rows["snapshot"].isna()]
        found = _summaries(rows, "score")
        return dict(sorted(found.items(), key=lambda item: self._order(item[0])))

    def _order(self, model: str) -> tuple[bool, str, float]:
        name, size, _ = parse_model(model)
        return name in self.controls, name, size

    def by_seed(self, cell: Cell, model: str, metric: str = "score") -> dict[int, float]:
        """One metric of one model by seed."""
        column = f"metric.{metric}"
        rows = self._finetunings.get((cell.task, cell.method, model), [])
        return {int(row["seed"]): float(row[column]) for row in rows if not pd.isna(row.get(column))}

    def setting(self, method: str, name: str) -> Any:
        """What a fine-tuning method was told; None where it has no such option."""
        return self._settings.get(method, {}).get(f"spec.settings.{name}")

    def settings(self, method: str) -> dict[str, Any]:
        """Everything that a fine-tuning method was told, by name."""
        return {name.removeprefix("spec.settings."): value for name, value in self._settings.get(method, {}).items()}

    @cached_property
    def _settings(self) -> dict[str, dict[str, Any]]:
        """The options of every fine-tuning method: of each, the first value that a run was told."""
        options = [name for name in self.finetunings if str(name).startswith("spec.settings.")]
        first = self.finetunings.groupby("method")[options].first().to_dict("index")
        return {
            str(method): {str(name): value for name, value in told.items() if not pd.isna(value)}
            for method, told in first.items()
        }

    def pretraining_setting(self, model: str, name: str) -> Any:
        """What the pretraining of a model was told, a snapshot's included; None where there is none."""
        whole = self.pretrainings["model"] == model.partition("-at")[0]
        return _first(self.pretrainings[whole], f"spec.settings.{name}")

    def told(self, rows: pd.DataFrame, name: str) -> set[Any]:
        """The values of one option in some runs, each once; runs that have no such option are left out."""
        column = f"spec.settings.{name}"
        return set(rows[column].dropna()) if column in rows else set()

    def typical(self, cell: Cell, model: str, *columns: str) -> float | None:
        """Median over a model's seeds of the first of these columns that its runs fill."""
        rows = self._finetunings.get((cell.task, cell.method, model), [])
        for column in columns:
            values = [float(row[column]) for row in rows if not pd.isna(row.get(column))]
            if values:
                return median(values)
        return None

    def at_majority(self, cell: Cell, model: str) -> bool:
        """Whether a model's mean accuracy is no better than always answering the most frequent scored label."""
        accuracy = list(self.by_seed(cell, model, "accuracy").values())
        rate = self.typical(cell, model, "metric.majority_rate")
        return bool(accuracy) and rate is not None and fmean(accuracy) <= rate + 1e-9

    @cached_property
    def _finetunings(self) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
        """Finished fine-tunings by task, method and model: tables ask for them thousands of times."""
        found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for row in self.finetuned.to_dict("records"):
            found.setdefault((row["task"], row["method"], row["model"]), []).append({str(k): v for k, v in row.items()})
        return found

    @cached_property
    def finetuned_models(self) -> list[str]:
        """Every fine-tuned model: sweeps by size and progress, downloaded models, controls, untrained models."""
        rows = self.finetunings
        random = set(rows.loc[rows["random_init"], "model"])

        def order(model: str) -> tuple[int, str, float, float]:
            if model in random or self.is_downloaded(model):
                return 3 if model in random else 1, "", 0.0, 0.0
            name = parse_model(model)
            return 2 if name.pretraining in self.controls else 0, *name

        return sorted(dict.fromkeys(rows["model"]), key=order)

    @cached_property
    def random_models(self) -> list[str]:
        """Models that were never pretrained (the control of fine-tuning)."""
        return list(dict.fromkeys(self.finetuned.loc[self.finetuned["random_init"], "model"]))

    def untrained_control(self, cell: Cell, model: str) -> str | None:
        """The untrained model of a pretrained one's shape, of its initialization if there is one."""
        rows = self.cell_rows(cell)
        rows = rows[rows["random_init"]]
        layers, hidden, initialization = (
            self.pretraining_setting(model, name)
            for name in ("discriminator.layers", "discriminator.hidden_size", "initialization")
        )
        if layers and len(rows):
            shape = "spec.random_init.shape"
            rows = rows[(rows[f"{shape}.layers"] == layers) & (rows[f"{shape}.hidden_size"] == hidden)]
            same = rows[rows["spec.random_init.initialization"] == initialization]
            rows = rows if same.empty else same
        return None if rows.empty else str(rows["model"].iloc[0])

    def random_score(self, cell: Cell, model: str) -> Summary | None:
        """Score of an untrained model over seeds, with its own scatter."""
        values = list(self.by_seed(cell, model).values())
        return summarize(values) if values else None

    def baselines(self) -> dict[str, str]:
        """Baseline methods and their names for a reader."""
        rows = self.baseline
        kinds = {str(method): str(kind) for method, kind in zip(rows["method"], rows["kind"])}
        named = {method: BASELINES.get(kind, method) for method, kind in kinds.items()}
        several = len(set(named.values())) < len(named)
        return {method: f"{name} ({method})" if several else name for method, name in named.items()}

    def baseline_score(self, task: str, method: str, metric: str = "score") -> float | None:
        """One metric of one baseline on one task."""
        rows, column = self.baseline, f"metric.{metric}"
        if column not in rows:
            return None
        rows = rows[(rows["task"] == task) & (rows["method"] == method)].dropna(subset=column)
        return None if rows.empty else float(rows[column].iloc[0])

    def majority_score(self, task: str, metric: str) -> float | None:
        """What always answering the most frequent label scores; a regression has no such answer."""
        if metric == "accuracy":
            return self.task_value(task, "majority_rate")
        return 0.0 if metric == "mcc" else None

    def task_value(self, task: str, metric: str) -> float | None:
        """A property of a task that every run on it reports (`majority_rate`, `validation_rows`)."""
        column = f"metric.{metric}"
        rows = self.frame[(self.frame["task"] == task) & (self.frame["status"] == "ok")]
        values = rows[column].dropna() if column in rows else pd.Series(dtype=float)
        return None if values.empty else float(values.iloc[0])

    def degenerate_runs(self, cell: Cell, model: str) -> int:
        """How many of a model's runs predict one class or one value only."""
        return int(sum(self.by_seed(cell, model, "degenerate").values()))


def _finished(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["status"] == "ok"]


def _first(rows: pd.DataFrame, column: str) -> Any:
    """The first value of a column; None where no run has any."""
    values = rows[column].dropna() if column in rows else pd.Series(dtype=object)
    return None if values.empty else values.iloc[0]


def _summaries(rows: pd.DataFrame, metric: str) -> dict[str, Summary]:
    column = f"metric.{metric}"
    if column not in rows:
        return {}
    groups = rows.dropna(subset=column).groupby("model")[column]
    return {str(model): summarize(list(map(float, group))) for model, group in groups}


def read_runs(path: Path, comparisons: Path) -> Runs:
    """Read `runs.csv` and `comparisons.csv`.

    Raises:
        UserError: one is missing or damaged.
    """
    return Runs(read_table(path, RUN_COLUMNS), read_comparisons(comparisons))
