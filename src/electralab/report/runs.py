"""`runs.csv` and `curves.csv` as the tables and figures see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from electralab.errors import UserError
from electralab.report.collect import CURVE_COLUMNS, CURVE_IDENTITY, RUN_COLUMNS
from electralab.report.statistics import Spread, Summary, pooled_spread, summarize

TEXT = ("model", "task", "method", "pretraining", "status", "reason", "recipe", "extensions", "kind", "notes", "phase")
UNTRAINED = "random initialisation (never pretrained)"
# The metrics that tables and figures compare between pretrainings, with their names in a sentence.
COMPARED = {
    "mlm_loss": "MLM loss",
    "rtd_auc": "RTD AUC on the own generator",
    "rtd_auc_unigram": "RTD AUC on unigram replacements",
}
BASELINES = {"tfidf": "TF-IDF + logistic regression"}


@dataclass(frozen=True)
class Cell:
    """A task fine-tuned with a method: one column of scores."""

    task: str
    method: str


def percent(size: float) -> str:
    """0.125 -> `12.5 %`."""
    return f"{size * 100:g} %"


@dataclass(frozen=True)
class Runs:
    """Views of the runs table; `frame` holds every run, failed ones included."""

    frame: pd.DataFrame

    def stage(self, stage: str) -> pd.DataFrame:
        """Finished runs of a stage."""
        return self.frame[(self.frame["stage"] == stage) & (self.frame["status"] == "ok")]

    @cached_property
    def pretrained(self) -> pd.DataFrame:
        """Finished pretrainings, sweeps first and then controls, each by generator size and seed."""
        rows = self.stage("pretrain")
        rows = rows.assign(_control=rows["pretraining"].isin(self.controls))
        return rows.sort_values(["_control", "pretraining", "generator_size", "seed"], kind="stable")

    @cached_property
    def finetuned(self) -> pd.DataFrame:
        """Finished fine-tunings."""
        return self.stage("finetune")

    @cached_property
    def controls(self) -> set[str]:
        """Pretrainings without any extension in an experiment whose other pretrainings have some."""
        rows = self.frame[self.frame["stage"] == "pretrain"]
        plain = set(rows.loc[rows["extensions"] == "", "pretraining"])
        return plain if (rows["extensions"] != "").any() else set()

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
        return model.rpartition("-g")[0] in self.controls

    def label(self, model: str) -> str:
        """A model's name for a reader: its size, and its pretraining where there are several."""
        name, _, size = model.rpartition("-g")
        if name in self.controls:
            return f"control without the extensions, {size} %"
        return f"{size} %" if len(self.sweeps) <= 1 else f"{name}, {size} %"

    def sizes(self, sweep: str) -> list[str]:
        """Models of a sweep, smallest generator first."""
        rows = self.pretrained
        return list(dict.fromkeys(rows.loc[rows["pretraining"] == sweep, "model"]))

    def summaries(self, metric: str) -> dict[str, Summary]:
        """A pretraining metric by model over seeds; the seed scatter is pooled over the sizes of a sweep."""
        found: dict[str, Summary] = {}
        for _, rows in self.pretrained.groupby("pretraining"):
            found |= _summaries(rows, metric)
        return {model: found[model] for model in self.models if model in found}

    def spread(self, sweep: str, metric: str) -> Spread | None:
        """The pooled seed scatter behind `summaries` for one sweep."""
        rows = self.pretrained[self.pretrained["pretraining"] == sweep]
        return pooled_spread(list(_values(rows, metric).values()))

    @cached_property
    def cells(self) -> list[Cell]:
        """Every (task, method) that was fine-tuned: human-labelled tasks first, synthetic ones last."""
        rows = self.frame[self.frame["stage"] == "finetune"].sort_values("synthetic", kind="stable")
        return [Cell(task, method) for task, method in dict.fromkeys(zip(rows["task"], rows["method"]))]

    def cell_label(self, cell: Cell) -> str:
        """A column heading: the task, `(synthetic)` if it is, and the method where a task has several."""
        label = f"{cell.task} (synthetic)" if self.is_synthetic(cell.task) else cell.task
        several = len({other.method for other in self.cells if other.task == cell.task}) > 1
        return f"{label}, {cell.method}" if several else label

    def is_synthetic(self, task: str) -> bool:
        """Whether a task's labels are made by a program."""
        return bool(self.frame.loc[self.frame["task"] == task, "synthetic"].any())

    def cell_rows(self, cell: Cell) -> pd.DataFrame:
        """Finished fine-tunings of one task with one method."""
        rows = self.finetuned
        return rows[(rows["task"] == cell.task) & (rows["method"] == cell.method)]

    def scores(self, cell: Cell) -> dict[str, Summary]:
        """Accuracy by pretrained model, controls last; seed scatter pooled over the sizes of a sweep."""
        rows = self.cell_rows(cell)
        rows = rows[~rows["random_init"]]
        found: dict[str, Summary] = {}
        for _, group in rows.groupby("pretraining"):
            found |= _summaries(group, "accuracy")
        return dict(sorted(found.items(), key=lambda item: self._order(item[0])))

    def _order(self, model: str) -> tuple[bool, str, float]:
        name, _, size = model.rpartition("-g")
        return name in self.controls, name, float(size)

    def by_seed(self, cell: Cell, model: str) -> dict[int, float]:
        """Accuracy of one model by seed."""
        rows = self.cell_rows(cell)
        rows = rows[rows["model"] == model].dropna(subset="metric.accuracy")
        return {int(seed): float(value) for seed, value in zip(rows["seed"], rows["metric.accuracy"])}

    def random_models(self) -> list[str]:
        """Models that were never pretrained (the control of fine-tuning)."""
        return list(dict.fromkeys(self.finetuned.loc[self.finetuned["random_init"], "model"]))

    def untrained_control(self, cell: Cell, model: str) -> str | None:
        """The untrained model of a pretrained one's shape, of its initialization if there is one."""
        rows = self.cell_rows(cell)
        own = self.frame[(self.frame["stage"] == "pretrain") & (self.frame["model"] == model)]
        rows = rows[rows["random_init"]]
        if not own.empty:
            first = own.iloc[0]
            rows = rows[(rows["layers"] == first["layers"]) & (rows["hidden_size"] == first["hidden_size"])]
            same = rows[rows["initialization"] == first["initialization"]]
            rows = rows if same.empty else same
        return None if rows.empty else str(rows["model"].iloc[0])

    def random_score(self, cell: Cell, model: str) -> Summary | None:
        """Accuracy of an untrained model over seeds, with its own scatter."""
        values = list(self.by_seed(cell, model).values())
        return summarize(values) if values else None

    def baselines(self) -> dict[str, str]:
        """Baseline methods and their names for a reader."""
        rows = self.stage("baseline")
        kinds = {str(method): str(kind) for method, kind in zip(rows["method"], rows["kind"])}
        named = {method: BASELINES.get(kind, method) for method, kind in kinds.items()}
        several = len(set(named.values())) < len(named)
        return {method: f"{name} ({method})" if several else name for method, name in named.items()}

    def baseline_accuracy(self, task: str, method: str) -> float | None:
        """Accuracy of one baseline on one task."""
        rows = self.stage("baseline")
        rows = rows[(rows["task"] == task) & (rows["method"] == method)].dropna(subset="metric.accuracy")
        return None if rows.empty else float(rows["metric.accuracy"].iloc[0])

    def task_value(self, task: str, metric: str) -> float | None:
        """A property of a task that every run on it reports (`majority_rate`, `validation_rows`)."""
        column = f"metric.{metric}"
        rows = self.frame[(self.frame["task"] == task) & (self.frame["status"] == "ok")]
        values = rows[column].dropna() if column in rows else pd.Series(dtype=float)
        return None if values.empty else float(values.iloc[0])

    def majority_runs(self, cell: Cell, model: str) -> int:
        """How many of a model's runs predict one class only."""
        rows = self.cell_rows(cell)
        rows = rows[rows["model"] == model]
        return int(rows["metric.majority_class"].fillna(0).sum()) if "metric.majority_class" in rows else 0


def _values(rows: pd.DataFrame, metric: str) -> dict[str, list[float]]:
    column = f"metric.{metric}"
    if column not in rows:
        return {}
    return {str(model): list(map(float, group)) for model, group in rows.dropna(subset=column).groupby("model")[column]}


def _summaries(rows: pd.DataFrame, metric: str) -> dict[str, Summary]:
    values = _values(rows, metric)
    spread = pooled_spread(list(values.values()))
    return {model: summarize(group, spread) for model, group in values.items()}


def intervals(summaries: Mapping[str, Summary]) -> dict[str, tuple[float, float]]:
    """Those summaries that have an interval."""
    return {name: (s.low, s.high) for name, s in summaries.items() if s.low is not None and s.high is not None}


def read_runs(path: Path) -> Runs:
    """Read `runs.csv`.

    Raises:
        UserError: it is missing or is not a runs table.
    """
    return Runs(_read(path, RUN_COLUMNS))


def read_curves(path: Path) -> pd.DataFrame:
    """Read `curves.csv`.

    Raises:
        UserError: it is missing or is not a curves table.
    """
    return _read(path, (*CURVE_IDENTITY, *CURVE_COLUMNS))


def _read(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    try:
        # A model may be called `null`: only an empty cell is missing.
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: build it first with snakemake {path}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): delete it and run again") from None
    missing = [name for name in required if name not in frame.columns]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}: delete it and run again")
    for name in TEXT:
        if name in frame.columns:
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "").astype(str)
    return frame
