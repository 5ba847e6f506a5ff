"""Grids and searches over the options of a method."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from electralab.config.base import Distinct, Name, Positive, Seed, Strict

Value = bool | int | float | str


class Grid(Strict):
    """A method with every combination of some of its options: methods `<grid>_<option><value>_...` of their own."""

    method: Name = Field(description="The method whose options are varied.")
    over: dict[Name, Annotated[Distinct[Value], Field(min_length=1)]] = Field(
        min_length=1, description="Options and their values."
    )


class Range(Strict):
    """A number between two others."""

    low: float = Field(description="Smallest value.")
    high: float = Field(description="Largest value.")
    log: bool = Field(False, description="Draw its logarithm evenly.")
    integer: bool = Field(False, description="Whole numbers only.")

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"an integer range needs whole bounds, not {self.low:g} and {self.high:g}")
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"{self.low:g} to {self.high:g} is not a range{' of logarithms' if self.log else ''}")
        return self


class Search(Strict):
    """A search over the options of a method with Optuna; every trial is a run of its own, from a fresh model.

    Trials are scored on a part of the training rows; the winner is run once more and scored on the validation rows.
    """

    model: str = Field(description="Model to train: a name of `models`, or one size of a pretraining (`tiny-g25`).")
    task: Name = Field(description="Task to train on.")
    method: Name = Field(description="Method whose options are searched; what is not in `space` stays as it is.")
    space: dict[Name, Range | list[Value]] = Field(min_length=1, description="Options: a range, or a list of choices.")
    sampler: Literal["random", "tpe"] = Field("random", description="How options are drawn.")
    trials: Annotated[int, Field(ge=1)] = Field(20, description="Trials in all, over every worker and rerun.")
    median_pruning: bool = Field(
        False, description="Stop a trial whose score after an epoch (but the last) is below the median."
    )
    seed: Seed = Field(0, description="Of the sampler and of every trial.")
    log_to: list[Literal["tensorboard", "wandb"]] = Field(
        [], description="Also log every trial there; wandb stays offline unless WANDB_MODE says otherwise."
    )
    timeout_minutes: Positive | None = Field(None, description="Start no trial after this time.")
