"""TF-IDF with logistic or ridge regression: what counting words achieves, without pretraining and without a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from electralab.data.example import Example
from electralab.data.tasks import TaskData, read_task
from electralab.errors import UserError
from electralab.finetune.evaluation import check_labels, evaluate, evaluation_notes, row_counts, write_answers
from electralab.finetune.examples import sample_examples
from electralab.finetune.metrics import Floats
from electralab.finetune.predictions import predictions_name
from electralab.records import Meter, RunRecord, write_record
from electralab.specs import BaselineSpec

SEED = 0  # draws the sample of training rows; nothing else is random
STRENGTHS = (1.0, 10.0, 100.0)  # inverse regularisation: scikit-learn's default of 1 is too strong for TF-IDF
FOLDS = 3


def run_baseline(spec: BaselineSpec, record_path: Path, task: Path) -> RunRecord:
    """Fit on the training rows, score the validation rows, write the predictions and then the run record.

    The regularisation is chosen by cross-validation on the training rows.

    Args:
        spec: what to run.
        record_path: where the run record goes; predictions go beside it.
        task: the task's manifest.

    Raises:
        UserError: a row to be scored has no label, the training rows hold no words, or too few rows of a class to
            cross-validate.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    data = read_task(task)
    check_labels(data)
    meter = Meter(device="cpu", threads=1, data={"task": data.checksum})
    train = sample_examples(data.train, spec.settings.max_train_rows, SEED)
    with threadpool_limits(1):
        model, answer = _fit(spec, data, train)
        metrics, answers = evaluate(data, answer, "matched")

    parameters = int(model.coef_.size + np.size(model.intercept_))
    metrics |= row_counts(task, data) | {"train_rows": len(train)}
    write_answers(record_path.parent, data, answers)
    strength = f"alpha = {model.alpha:g}" if data.regression else f"C = {model.C:g}"
    chosen = f"{strength} chosen by {FOLDS}-fold cross-validation on the training rows"
    record = RunRecord(
        stage="baseline",
        model="tfidf",
        task=spec.task,
        method=spec.method,
        seed=SEED,
        recipe="tfidf",
        primary_metric=data.metrics[0],
        glue=data.glue,
        synthetic=data.synthetic,
        metrics=metrics,
        predictions=predictions_name("validation"),
        notes=[chosen, *evaluation_notes(data, metrics)],
        cost=meter.cost(parameters={"total": parameters, "trainable": parameters}),
        provenance=meter.provenance(),
        spec=spec.model_dump(mode="json"),
    )
    write_record(record_path, record)
    return record


def _fit(spec: BaselineSpec, data: TaskData, train: list[Example]) -> tuple[Any, Callable[[list[Example]], Floats]]:
    """The fitted model, and what answers other rows: log-probabilities [N, classes], or scores [N].

    The texts of a pair have a vocabulary each: the same word says different things in a question and in an answer.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV

    labels = np.array([example.label for example in train])
    if not data.regression and np.bincount(labels, minlength=len(data.labels)).min() < FOLDS:
        raise UserError(
            f"task {data.name}: the {len(train)} training rows of method {spec.method} hold fewer than {FOLDS} of some "
            f"label ({', '.join(data.labels)}): raise max_train_rows or check the task"
        )
    vectorizers: list[Any] = []
    for _ in _text_columns(train):
        vectorizers.append(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True))  # type: ignore[no-untyped-call]

    def features(examples: list[Example], method: str) -> Any:
        columns = zip(vectorizers, _text_columns(examples))
        return hstack([getattr(vectorizer, method)(texts) for vectorizer, texts in columns]).tocsr()

    try:
        train_features = features(train, "fit_transform")
    except ValueError as error:
        raise UserError(f"task {data.name}: no words to count in the training rows ({error})") from None
    if data.regression:
        search: Any = GridSearchCV(Ridge(), {"alpha": [1 / strength for strength in STRENGTHS]}, cv=FOLDS)  # type: ignore[no-untyped-call]
    else:
        search = GridSearchCV(LogisticRegression(max_iter=1000), {"C": STRENGTHS}, cv=FOLDS)  # type: ignore[no-untyped-call]
    model = search.fit(train_features, labels).best_estimator_
    predict = model.predict if data.regression else model.predict_log_proba
    return model, lambda examples: predict(features(examples, "transform"))


def _text_columns(examples: list[Example]) -> list[list[str]]:
    columns = [[example.text for example in examples]]
    if any(example.pair is not None for example in examples):
        columns.append([example.pair or "" for example in examples])
    return columns
