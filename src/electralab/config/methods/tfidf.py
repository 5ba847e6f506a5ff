"""A baseline that reads no model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from electralab.config.methods.link import Form, Link


class TfidfBaseline(Link):
    """TF-IDF (1-2 grams) with logistic regression, or ridge regression of scores: no pretraining, no network."""

    opens: ClassVar[frozenset[Form]] = frozenset({"nothing"})
    leaves: ClassVar[Form | None] = None

    kind: Literal["tfidf"] = "tfidf"
    max_train_rows: Annotated[int, Field(ge=16)] | None = Field(
        None, description="As in the method it is compared with."
    )
