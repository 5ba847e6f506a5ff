"""TF-IDF with logistic or ridge regression: what counting words achieves, without pretraining and without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from electralab.artifacts import Left
from electralab.config import TfidfBaseline
from electralab.data.example import Example
from electralab.data.tasks import TaskData
from electralab.errors import Unsuitable
from electralab.finetune.examples import sample_examples
from electralab.finetune.metrics import Floats
from electralab.methods.job import Job, Outcome

STRENGTHS = (1.0, 10.0, 100.0)  # inverse regularisation: scikit-learn's default of 1 is too strong for TF-IDF
FOLDS = 3


def run(job: Job) -> Outcome:
    """Fit on the training rows; the regularisation is chosen by cross-validation on them.

    Raises:
        Unsuitable: the training rows hold no words, or too few rows of a class to cross-validate.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    settings, data = job.spec.settings, job.data
    assert isinstance(settings, TfidfBaseline)
    train = sample_examples(data.train, settings.max_train_rows, job.spec.seed)
    with threadpool_limits(1):
        model, predict = _fit(job.spec.method, data, train)

    def answer(examples: list[Example]) -> Floats:
        with threadpool_limits(1):
            return predict(examples)

    parameters = int(model.coef_.size + np.size(model.intercept_))
    strength = f"alpha = {model.alpha:g}" if data.regression else f"C = {model.C:g}"
    return Outcome(
        answer=answer,
        scored=data,
        left=Left(form=None, reason="counts of words are not kept"),
        metrics={"train_rows": len(train)},
        parameters={"total": parameters, "trainable": parameters},
        checksums={},
        notes=[f"{strength} chosen by {FOLDS}-fold cross-validation on the training rows"],
    )


def _fit(method: str, data: TaskData, train: list[Example]) -> tuple[Any, Callable[[list[Example]], Floats]]:
    """The fitted model, and what answers other rows: log-probabilities [N, classes], or scores [N].

    The texts of a pair have a vocabulary each: the same word says different things in a question and in an answer.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV

    labels = np.array([example.label for example in train])
    if not data.regression and _too_few(labels):
        raise Unsuitable(
            f"task {data.name}: the {len(train)} training rows of method {method} hold fewer than {FOLDS} of some "
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
        raise Unsuitable(f"task {data.name}: no words to count in the training rows ({error})") from None
    if data.regression:
        search: Any = GridSearchCV(Ridge(), {"alpha": [1 / strength for strength in STRENGTHS]}, cv=FOLDS)  # type: ignore[no-untyped-call]
    else:
        search = GridSearchCV(LogisticRegression(max_iter=1000), {"C": STRENGTHS}, cv=FOLDS)  # type: ignore[no-untyped-call]
    model = search.fit(train_features, labels).best_estimator_
    if data.regression:
        return model, lambda examples: model.predict(features(examples, "transform"))

    def log_probabilities(examples: list[Example]) -> Floats:
        """A class without a training row is never the answer."""
        answers = np.full((len(examples), len(data.labels)), -np.inf)
        answers[:, model.classes_] = model.predict_log_proba(features(examples, "transform"))
        return answers

    return model, log_probabilities


def _too_few(labels: Any) -> bool:
    """Whether a class that is there at all has fewer rows than there are folds, or there is one class."""
    _, counts = np.unique(labels, return_counts=True)
    return len(counts) < 2 or bool(counts.min() < FOLDS)


def _text_columns(examples: list[Example]) -> list[list[str]]:
    columns = [[example.text for example in examples]]
    if any(example.pair is not None for example in examples):
        columns.append([example.pair or "" for example in examples])
    return columns
