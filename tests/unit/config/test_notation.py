"""A number is a number however it is written, wherever a number is wanted, and nothing else is."""

from __future__ import annotations

import copy
import json
import math
from decimal import Decimal
from typing import Annotated, Any

import pytest
import yaml
from experiments import DEFAULT, changed, refused
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from electralab.config import Grid, Search, Strict, load_experiment


class Numbers(Strict):
    """Every place that a number may stand in."""

    whole: int = 0
    counted: Annotated[int, Field(ge=1)] | None = None
    real: float = 0.0
    either: float | list[bool | int | float | str] = 0.0
    many: list[Annotated[float, Field(ge=-1e31)]] = Field([])
    named: dict[str, int] = Field({})
    pair: tuple[float, float] = Field((0.0, 0.0), strict=False)
    text: str = ""
    flag: bool = False
    maybe_text: str | None = None


def written(number: float | int) -> st.SearchStrategy[Any]:
    """The number itself and its notations as text, with a dot, an exponent, a sign, an underscore."""
    exact = Decimal(repr(number))
    shift = st.integers(-6, 6).map(lambda power: f"{exact.scaleb(-power):f}e{power}")
    notations = [st.just(number), st.just(f"{exact:f}"), st.just(f"{exact:e}"), st.just(f"{exact:E}"), shift]
    if not exact.is_signed():  # -0.0 is
        notations.append(st.just(f"+{exact:f}"))
    if exact == exact.to_integral_value():
        whole = int(exact)
        notations += [st.just(float(number)), st.just(str(whole)), st.just(f"{whole:_}"), st.just(f"{whole}.")]
    return st.one_of(notations)


WHOLE = st.integers(-(10**15), 10**15)
REAL = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30)


@given(data=st.data(), number=WHOLE)
def test_every_notation_of_a_whole_number_is_that_number(data: st.DataObject, number: int) -> None:
    value = data.draw(written(number))
    made = Numbers.model_validate({"whole": value, "real": value, "named": {"a": value}, "either": [value]})
    assert (made.whole, made.real, made.named["a"], made.either) == (number, float(number), number, [number])
    assert [type(found) for found in (made.whole, made.named["a"], made.either[0])] == [int] * 3  # type: ignore[index]
    same = Numbers(whole=number, real=float(number), named={"a": number}, either=[number])
    assert made.canonical() == same.canonical()


@given(data=st.data(), number=REAL)
def test_every_notation_of_a_real_number_is_that_number(data: st.DataObject, number: float) -> None:
    value = data.draw(written(number).filter(lambda value: isinstance(value, str)))
    made = Numbers.model_validate({"real": value, "either": value, "pair": [value, value], "many": [value]})
    assert (made.real, made.either, made.pair, made.many) == (number, number, (number, number), [number])


@given(number=REAL.filter(lambda number: not number.is_integer()))
def test_a_fraction_is_refused_for_a_whole_number(number: float) -> None:
    for value in (number, repr(number)):
        with pytest.raises(ValidationError, match="valid integer"):
            Numbers.model_validate({"whole": value})


@given(text=st.text())
def test_text_stays_text_where_text_is_wanted(text: str) -> None:
    assert Numbers(text=text, maybe_text=text).model_dump(include={"text", "maybe_text"}) == {
        "text": text,
        "maybe_text": text,
    }


NO_NUMBERS = ["many", "", " ", "1 000", "1,000", "1e", "e4", "0x10", "--1", "1_", "nan", "inf", "-inf", ".nan", ".inf"]


@pytest.mark.parametrize(
    "value",
    [*NO_NUMBERS, "1e999", "١٢", "9" * 5000, "1e999999999", math.nan, math.inf, True, False, [1], {"a": 1}, None],
)
@pytest.mark.parametrize("field", ["whole", "real"])
def test_what_is_no_finite_number_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Numbers.model_validate({field: value})


@pytest.mark.parametrize("value", [2.5, "2.5", "1e-4", "1e400", True])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        Numbers.model_validate({"whole": value})


def test_truth_values_and_null_as_text() -> None:
    assert Numbers.model_validate({"flag": "true", "counted": "null"}) == Numbers(flag=True, counted=None)
    assert Numbers.model_validate({"flag": "False", "maybe_text": "null"}) == Numbers(flag=False, maybe_text="null")
    for value in ("yes", 1, "1", 0):
        with pytest.raises(ValidationError):
            Numbers.model_validate({"flag": value})


def as_text(values: Any) -> Any:
    """What Snakemake makes of a nested value on the command line."""
    return yaml.load(json.dumps(values), Loader=yaml.BaseLoader)


def test_an_experiment_written_as_text_is_the_same_experiment() -> None:
    everything = as_text(DEFAULT)
    assert everything["pretraining"]["tiny"]["steps"] == "1600"
    assert load_experiment(everything) == load_experiment(DEFAULT)
    assert load_experiment(everything).canonical() == load_experiment(DEFAULT).canonical()


@pytest.mark.parametrize("steps", [10_000, "10000", 1e4, "1e4", "1.0e+04", "10_000"])
def test_steps_in_every_notation(steps: Any) -> None:
    loaded = load_experiment(changed("pretraining.tiny.steps", steps))
    assert loaded.canonical() == load_experiment(changed("pretraining.tiny.steps", 10_000)).canonical()


@pytest.mark.parametrize("values", [[2, 4], ["2", "4"], [2.0, "4.0"]])
def test_values_of_grids_and_searches(values: list[Any]) -> None:
    assert Grid.model_validate({"method": "m", "over": {"rank": values}}).over == {"rank": [2, 4]}
    space = {"rank": values, "alpha": {"low": values[0], "high": values[1], "log": "true"}}
    search = Search.model_validate({"model": "m", "task": "t", "method": "m", "space": space})
    expected = Search.model_validate(
        {
            "model": "m",
            "task": "t",
            "method": "m",
            "space": {"rank": [2, 4], "alpha": {"low": 2.0, "high": 4.0, "log": True}},
        }
    )
    assert search.canonical() == expected.canonical()


def test_a_grid_names_equal_numbers_alike() -> None:
    def names(values: list[Any]) -> list[str]:
        experiment = copy.deepcopy(DEFAULT)
        experiment["grids"] = {"scales": {"method": "quick_lora", "over": {"alpha": values}}}
        return load_experiment(experiment).expanded("scales")

    assert names([8, 16]) == names(["8", "16.0"]) == names([8.0, "1.6e1"]) == ["scales_alpha8.0", "scales_alpha16.0"]


def test_a_wrong_number_keeps_its_message() -> None:
    line = refused(changed("pretraining.tiny.steps", "2.5"))
    assert "pretraining.tiny.steps: Input should be a valid integer" in line
    assert "(got '2.5')" in line
