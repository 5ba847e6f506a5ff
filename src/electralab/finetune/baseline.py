"""TF-IDF with logistic regression: what counting words achieves, without pretraining and without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from electralab.data.example import Example
from electralab.data.tasks import TaskData, read_task
from electralab.errors import UserError
from electralab.finetune.examples import sample_examples
from electralab.finetune.metrics import classification_metrics
from electralab.finetune.predictions import write_predictions
from electralab.plan import BaselineSpec
from electralab.records import Meter, RunRecord, write_record

SEED = 0  # draws the sample of training rows; nothing else is random
STRENGTHS = (1.0, 10.0, 100.0)  # inverse regularisation: scikit-learn's default of 1 is too strong for TF-IDF
FOLDS = 3


def run_baseline(spec: BaselineSpec, record_path: Path, task: Path) -> RunRecord:
    """Fit on the training rows, score the validation rows, write `predictions.csv` and then the run record.

    The regularisation is chosen by cross-validation on the training rows.

    Args:
        spec: what to run.
        record_path: where the run record goes; predictions go beside it.
        task: the task's manifest.

    Raises:
        UserError: the training rows hold no words, or too few rows of a class to cross-validate.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    data = read_task(task)
    meter = Meter(device="cpu", threads=1, data={"task": data.checksum})
    train = sample_examples(data.train, spec.settings.max_train_rows, SEED)
    labels = np.array([example.label for example in train])
    if np.bincount(labels, minlength=len(data.labels)).min() < FOLDS:
        raise UserError(
            f"task {data.name}: the {len(train)} training rows of method {spec.method} hold fewer than {FOLDS} of some "
            f"label ({', '.join(data.labels)}): raise max_train_rows or check the task"
        )
    with threadpool_limits(1):
        model, log_probabilities = _fit_and_predict(data, train, labels)

    parameters = int(model.coef_.size + model.intercept_.size)
    metrics = classification_metrics(np.array([example.label for example in data.validation]), log_probabilities)
    metrics |= {"train_rows": len(train), "validation_rows": len(data.validation)}
    predictions = record_path.with_name("predictions.csv")
    write_predictions(predictions, data.validation, log_probabilities)
    record = RunRecord(
        stage="baseline",
        model="tfidf",
        task=spec.task,
        method=spec.method,
        seed=SEED,
        recipe="tfidf",
        synthetic=data.synthetic,
        metrics=metrics,
        predictions=predictions.name,
        notes=[f"C = {model.C:g} chosen by {FOLDS}-fold cross-validation on the training rows"],
        cost=meter.cost(parameters={"total": parameters, "trainable": parameters}),
        provenance=meter.provenance(),
        spec=spec.model_dump(mode="json"),
    )
    write_record(record_path, record)
    return record


def _fit_and_predict(
    data: TaskData, train: list[Example], labels: npt.NDArray[np.int64]
) -> tuple[Any, npt.NDArray[np.float64]]:
    """The fitted model, and its log-probabilities of the validation rows, [N, classes].

    The texts of a pair have a vocabulary each: the same word says different things in a question and in an answer.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    train_columns, validation_columns = [], []
    for texts, unseen in zip(_text_columns(train), _text_columns(data.validation)):
        vectorizer: Any = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)  # type: ignore[no-untyped-call]
        try:
            train_columns.append(vectorizer.fit_transform(texts))
        except ValueError as error:
            raise UserError(f"task {data.name}: no words to count in the training rows ({error})") from None
        validation_columns.append(vectorizer.transform(unseen))
    search: Any = GridSearchCV(LogisticRegression(max_iter=1000), {"C": STRENGTHS}, cv=FOLDS)  # type: ignore[no-untyped-call]
    search.fit(hstack(train_columns).tocsr(), labels)
    return search.best_estimator_, search.best_estimator_.predict_log_proba(hstack(validation_columns).tocsr())


def _text_columns(examples: list[Example]) -> list[list[str]]:
    columns = [[example.text for example in examples]]
    if any(example.pair is not None for example in examples):
        columns.append([example.pair or "" for example in examples])
    return columns
