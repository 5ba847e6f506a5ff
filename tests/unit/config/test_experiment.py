"""The typed config: what it accepts, what it refuses, and how it says so."""

from __future__ import annotations

import copy
import json
import math
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from experiments import DEFAULT, ROOT, changed, refused
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from snakemake.utils import update_config

from electralab.config import (
    FINETUNING_RECIPES,
    RECIPES,
    Corpus,
    Experiment,
    FullFinetuning,
    Pretraining,
    Strict,
    TrainedTokenizer,
    json_schema,
    load_experiment,
    read_experiment,
)
from electralab.config.loading import deep_merge
from electralab.names import model_name

PRESETS = sorted((ROOT / "workflow" / "presets").glob("*.yaml"))


def pretraining(**changes: Any) -> Pretraining:
    return Pretraining(corpus="c", tokenizer="t", **changes)


@pytest.mark.parametrize(("steps", "tenth"), [(5, 0), (2400, 240), (99_999, 9_999), (1_000_000, 10_000)])
def test_a_short_run_rises_and_is_watched_in_proportion(steps: int, tenth: int) -> None:
    """The defaults are those of a million steps; with them a short run would never leave its warm-up."""
    short = pretraining(steps=steps)
    assert (short.warmup_steps, short.evaluation_every, short.checkpoint_every) == (tenth, *[max(1, tenth)] * 2)
    assert pretraining(steps=steps, warmup_steps=3).warmup_steps == 3
    assert Pretraining.model_validate(short.without_defaults()) == short
    assert set(short.without_defaults()) <= {"corpus", "tokenizer", "steps"}


# --- what is there ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", [None, *PRESETS], ids=lambda path: path.stem if path else "default")
def test_every_experiment_is_valid_and_fits_the_schema(preset: Path | None) -> None:
    merged = copy.deepcopy(DEFAULT)
    if preset is not None:
        update_config(merged, yaml.safe_load(preset.read_text()))
    jsonschema.validate(merged, json_schema())
    assert load_experiment(merged) == read_experiment([ROOT / "config.yaml", *([preset] if preset else [])])


def test_schema_refuses_a_misspelt_key() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed("pretraining.tiny.learning_rat", 0.1), json_schema())


def models() -> Iterator[type[Strict]]:
    """Every section of the config but the whole."""
    waiting = [Strict]
    while waiting:
        subclasses = waiting.pop().__subclasses__()
        waiting += subclasses
        yield from (
            found for found in subclasses if found.__module__.startswith("electralab.config.") and found != Experiment
        )


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_key_says_what_it_means(model: type[BaseModel]) -> None:
    tags = ("source", "kind")
    assert [key for key, field in model.model_fields.items() if not field.description and key not in tags] == []


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_sets_defaults_and_yields_to_what_is_given(recipe: str) -> None:
    plain, chosen = pretraining(), pretraining(recipe=recipe)
    different = {key for key in Pretraining.model_fields if getattr(plain, key) != getattr(chosen, key)} - {"recipe"}
    assert different == set(RECIPES[recipe])
    for key in RECIPES[recipe]:
        assert getattr(pretraining(recipe=recipe, **{key: getattr(plain, key)}), key) == getattr(plain, key)


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_recipe_uses_an_extension(recipe: str) -> None:
    assert pretraining(recipe=recipe).extensions == []
    late = pretraining(recipe=recipe, unigram_warmup=0.1, adam_bias_correction=True)
    assert late.extensions == ["unigram_warmup"]
    assert pretraining(recipe=recipe, initialization="position_aware_init").extensions == ["position_aware_init"]


@given(seed=st.integers(0, 2**32 - 1))
def test_canonical_json_does_not_depend_on_the_order_of_keys(seed: int) -> None:
    def shuffled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        keys = list(value)
        random.Random(seed).shuffle(keys)
        return {key: shuffled(value[key]) for key in keys}

    canonical = load_experiment(shuffled(DEFAULT)).canonical()
    assert canonical == load_experiment(DEFAULT).canonical()
    assert load_experiment(json.loads(canonical)).canonical() == canonical


KEYS = st.sampled_from(["a", "b", "c"])
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        st.integers() | st.lists(st.integers(), max_size=2),
        # Snakemake lets an empty mapping pass over a number; no key of ours can hold both.
        lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3),
        max_leaves=6,
    ),
)


@given(base=TREES, overlay=TREES)
def test_overlays_merge_as_snakemake_merges_them(base: dict[str, Any], overlay: dict[str, Any]) -> None:
    expected = copy.deepcopy(base)
    update_config(expected, copy.deepcopy(overlay))
    before = copy.deepcopy(base)
    assert deep_merge(base, overlay) == expected
    assert base == before


@given(size=st.floats(0.001, 1).map(lambda size: float(f"{size:.3g}")))
def test_model_name_tells_the_size(size: float) -> None:
    stem, _, percent = model_name("tiny", size).rpartition("-g")
    assert stem == "tiny"
    assert float(percent) / 100 == pytest.approx(size, rel=1e-5)


def test_model_names_of_the_published_sweep() -> None:
    names = [model_name("tiny", size) for size in (0.125, 0.25, 0.5, 0.75, 1.0)]
    assert names == ["tiny-g12.5", "tiny-g25", "tiny-g50", "tiny-g75", "tiny-g100"]


def test_what_the_snakefile_imports_is_light() -> None:
    code = "import sys; import electralab.cli, electralab.plan, electralab.records, electralab.machine\n"
    code += "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "transformers", "datasets", "tokenizers", "pandas", "numpy", "sklearn", "matplotlib", "pyarrow"}
    assert heavy.isdisjoint(loaded)


# --- limits -----------------------------------------------------------------------------------------------------


@given(size=st.floats(allow_nan=True, allow_infinity=True))
def test_generator_size_is_in_0_to_1(size: float) -> None:
    values = changed("pretraining.tiny.generator_sizes", [size])
    values["run"] = values["searches"] = {}
    if 0 < size <= 1:
        assert load_experiment(values).pretraining["tiny"].generator_sizes == [size]
    else:
        assert ("outside (0, 1]" if math.isfinite(size) else "finite number") in refused(values)


@given(size=st.integers(-10, 70_000) | st.integers(65_530, 65_540))
def test_vocabulary_fits_uint16(size: int) -> None:
    values = {"name": "x", "corpora": DEFAULT["corpora"]}
    values["tokenizers"] = {"t": {"kind": "wordpiece", "corpus": "bundled_english", "vocab_size": size}}
    if 64 <= size < 65_536:
        tokenizer = load_experiment(values).tokenizers["t"]
        assert isinstance(tokenizer, TrainedTokenizer)
        assert tokenizer.vocab_size == size
    else:
        assert "tokenizers.t" in refused(values)
        assert str(size) in refused(values)


@given(length=st.integers(8, 600), positions=st.integers(8, 600))
def test_sequence_fits_the_positions(length: int, positions: int) -> None:
    values = changed("pretraining.tiny.sequence_length", length)
    values["pretraining"]["tiny"]["discriminator"] = {"max_positions": positions}
    values["run"] = {}
    if length <= positions:
        load_experiment(values)
    else:
        line = refused(values)
        assert f"sequence_length {length}" in line
        assert f"max_positions {positions}" in line


def paths(values: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield prefix
    for key, value in values.items():
        if isinstance(value, dict):
            yield from paths(value, (*prefix, key))


# Below these, any name may be added: that is what they are for.
NAMES = ("corpora", "tokenizers", "tasks", "pretraining", "models", "methods", "searches")


@pytest.mark.parametrize(
    "path",
    [path for path in paths(DEFAULT) if path not in [(name,) for name in NAMES] and path[-1:] != ("space",)],
    ids=".".join,
)
def test_misspelt_key_is_named_wherever_it_is(path: tuple[str, ...]) -> None:
    line = refused(changed(".".join([*path, "lerning_rate"]), 0.1))
    assert ".".join([*path, "lerning_rate"]) in line
    assert "docs/configuration.md" in line


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("pretraining.tiny.steps", "many", ["pretraining.tiny.steps", "integer", "'many'"]),
        ("pretraining.tiny.steps", 10.5, ["pretraining.tiny.steps", "integer", "10.5"]),
        ("pretraining.tiny.steps", 0, ["pretraining.tiny.steps", "greater than or equal to 1", "0"]),
        ("pretraining.tiny.steps", True, ["pretraining.tiny.steps", "integer", "True"]),
        ("pretraining.tiny.learning_rate", "1e", ["pretraining.tiny.learning_rate", "valid number", "'1e'"]),
        ("pretraining.tiny.seeds", [], ["pretraining.tiny.seeds", "at least 1"]),
        ("pretraining.tiny.recipe", "papper", ["pretraining.tiny.recipe", "'paper'", "'rc2020'", "'papper'"]),
        ("pretraining.tiny.corpus", "wiki", ["pretraining.tiny.corpus", "'wiki'", "bundled_english"]),
        ("methods.quick_lora.rank", 0, ["methods.quick_lora.rank", "greater than or equal to 1", "0"]),
        ("searches.quick_search.space.rank", 3, ["searches.quick_search.space.rank", "Range", "3"]),
        ("models.mini", {"kind": "package", "package": "mini"}, ["models.mini.package", "'mini'"]),
        ("pretraining.tiny.batch_size", 15, None),
        ("tokenizers.wordpiece_2k.corpus", "wiki", ["tokenizers.wordpiece_2k.corpus", "'wiki'"]),
        ("tasks.boolq.dataset", "bool_q", ["tasks.boolq.dataset", "'boolq'", "'bool_q'"]),
        ("tasks.word_order.corpus", "wiki", ["tasks.word_order.corpus", "bundled_english"]),
        ("models.tiny_random.like", "huge", ["models.tiny_random.like", "'huge'", "tiny_plain"]),
        ("methods.quick_full.max_length", 4096, ["methods.quick_full.max_length 4096", "max_positions 256"]),
        ("run.pretraining", ["huge"], ["run.pretraining", "'huge'", "tiny"]),
        ("run.baselines", ["quick_full"], ["run.baselines", "'quick_full'", "tfidf"]),
        ("name", "My Run", ["name", "'My Run'"]),
        ("name", 3, ["name", "string", "3"]),
        ("corpora", {}, ["bundled_english", "none is defined"]),
        (
            "tasks.mine",
            {"source": "local", "path": "x", "labels": ["a", "b", "a"]},
            ["tasks.mine.labels", "'a'", "twice"],
        ),
        ("tasks.mine", {"source": "local", "path": "x", "labels": [True, False]}, ["tasks.mine.labels[0]", "quote it"]),
        ("pretraining.tiny.adam_betas", [0.98], ["'pretraining.tiny.adam_betas[1]' is required"]),
        ("pretraining.tiny.seeds", [0, 1, 0], ["pretraining.tiny.seeds", "0 is there twice", "leave one out"]),
        ("pretraining.tiny.seeds", [2**32], ["pretraining.tiny.seeds[0]", "less than", "4294967296"]),
        ("methods.quick_lora.kind", "na\nme", ["methods.quick_lora", "na me", "'lora'"]),
        ("methods.quick_order.learning_rates", [1e-3, "1e-3"], ["quick_order.learning_rates", "0.001 is there twice"]),
        ("run.pretraining", ["tiny", "tiny"], ["run.pretraining", "'tiny' is there twice"]),
        ("name", "x" * 101, ["name", "at most 100 characters"]),
        ("grids", {"x" * 101: {"method": "quick_full", "over": {"epochs": [1]}}}, ["grids.xxx", "at most 100"]),
        (
            "grids",
            {"g": {"method": "quick_full", "over": {"epochs": [1, "1"]}}},
            ["grids.g.over.epochs", "1 is there twice"],
        ),
        (
            "grids",
            {
                "g": {"method": "quick_lora", "over": {"adapter_dropout": [0.2]}},
                "g_adapter": {"method": "quick_lora", "over": {"dropout": [0.2]}},
            },
            ["grids.g_adapter makes a method g_adapter_dropout0.2", "taken"],
        ),
        ("pretraining.tiny.seeds", [0, -1], ["pretraining.tiny.seeds[1]", "greater than or equal to 0", "-1"]),
        ("searches.quick_search.seed", -1, ["searches.quick_search.seed", "greater than or equal to 0"]),
        ("pretraining.tiny.warmup_steps", 1600, ["pretraining.tiny.warmup_steps 1600", "1600 steps"]),
        ("pretraining.tiny.generator_sizes", [0.25, 0.25000001], ["generator_sizes 0.25 and 0.25000001", "25 %"]),
        ("pretraining.tiny.snapshots", [0.5, 0.1, 0.5], ["snapshots 0.5 and 0.5", "50 %"]),
        ("pretraining.tiny.snapshots", [0.0001, 0.0002], ["snapshots [0.0001, 0.0002]", "one of the 1600 steps"]),
        ("pretraining.tiny.start_from", "tinny", ["pretraining.tiny.start_from", "'tinny'", "'tiny'"]),
        ("pretraining.tiny.start_from", "tiny", ["pretraining.tiny.start_from", "tiny <- tiny"]),
        ("pretraining.tiny.start_from", "tiny_random", ["pretraining.tiny.start_from", "'tiny_random'", "minilm"]),
        ("pretraining.tiny.start_from", "tiny_plain", ["pretraining.tiny.generator_sizes", "tiny_plain", "no 0.5"]),
        ("pretraining.tiny.start_generator_from", "minilm", ["start_generator_from needs start_from"]),
        ("tokenizers.mine", {"kind": "model", "model": "tiny"}, ["tokenizers.mine.model", "'tiny'", "minilm"]),
        ("device", "cuda", ["device", "'gpu'", "'cuda'"]),
        ("models.tiny", {"kind": "package"}, ["models.tiny and pretraining.tiny have one name"]),
        ("models.no_model", {"kind": "package"}, ["models.no_model", "choose another"]),
        ("run.pretraining_seed", 5, ["run.pretraining_seed 5", "pretraining.tiny.seeds (0, 1, 2)"]),
        ("grids", {"tfidf": {"method": "quick_full", "over": {"epochs": [1]}}}, ["methods.tfidf and grids.tfidf"]),
        ("grids", {"g": {"method": "quick_full", "over": {"epoch": [1]}}}, ["grids.g", "'epoch'", "mean 'epochs'?"]),
    ],
)
def test_bad_value_is_one_line_with_key_value_and_remedy(path: str, value: Any, parts: list[str] | None) -> None:
    if parts is None:
        values = changed(path, value)
        values["pretraining"]["tiny"]["gradient_accumulation"] = 2
        parts = ["batch_size 15", "gradient_accumulation 2"]
    else:
        values = changed(path, value)
    line = refused(values)
    assert [part for part in parts if part not in line] == []


@pytest.mark.parametrize("key", ["models", "tasks", "methods", "seeds"])
def test_what_a_block_names_twice_is_refused(key: str) -> None:
    values = copy.deepcopy(DEFAULT)
    block = values["run"]["finetuning"][0]
    block[key] = [*block[key], block[key][0]]
    assert f"run.finetuning[0].{key}: {block[key][0]!r} is there twice: leave one out" in refused(values)


def test_names_that_make_no_file_name_together_are_refused() -> None:
    long = {key: key[0] * 99 for key in ("models", "tasks", "methods")}
    values = copy.deepcopy(DEFAULT)
    values["models"][long["models"]] = {"kind": "package"}
    values["tasks"][long["tasks"]] = values["tasks"]["boolq"]
    values["methods"][long["methods"]] = values["methods"]["quick_full"]
    values["run"]["finetuning"] = [{key: [name] for key, name in long.items()}]
    assert "run.finetuning[0]: model, task and methods make a file name of 320 letters" in refused(values)
    values["run"]["finetuning"][0]["tasks"] = ["boolq"]
    load_experiment(values)


@pytest.mark.parametrize("key", ["models", "tasks", "methods"])
def test_unknown_name_in_a_block_of_runs(key: str) -> None:
    values = copy.deepcopy(DEFAULT)
    values["run"]["finetuning"][1][key] = ["nonsense"]
    line = refused(values)
    assert f"run.finetuning[1].{key}" in line
    assert "'nonsense'" in line
    assert "allowed" in line


@pytest.mark.parametrize("size", ["tiny-g33", "tiny-g", "tiny-g25.0", "nonsense-g25"])
def test_size_that_is_not_in_the_sweep_is_refused(size: str) -> None:
    values = copy.deepcopy(DEFAULT)
    values["run"]["finetuning"][0]["models"] = [size]
    assert "tiny-g25" in refused(values)


@pytest.mark.parametrize(
    ("path", "value", "meant"),
    [
        ("pretraining.tiny.lerning_rate", 0.1, "learning_rate"),
        ("methods.quick_full.learning_rate", 0.1, "learning_rates"),
        ("pretraning", {}, "pretraining"),
        ("run.pretraining", ["tinny"], "tiny"),
        ("pretraining.tiny.corpus", "bundled_englsh", "bundled_english"),
        ("searches.quick_search.space", {"rnak": [1]}, "rank"),
    ],
)
def test_the_nearest_name_is_suggested(path: str, value: Any, meant: str) -> None:
    assert f"; did you mean {meant!r}?" in refused(changed(path, value))


def test_what_resembles_nothing_gets_no_suggestion() -> None:
    assert "did you mean" not in refused(changed("xyzzy", 0))


def test_lists_are_counted_in_brackets_everywhere() -> None:
    values = copy.deepcopy(DEFAULT)
    values["run"]["finetuning"][2]["seeds"] = [0, "x"]
    values["corpora"]["bundled_english"]["parts"][0]["dataset"] = []
    line = refused(values)
    assert "run.finetuning[2].seeds[1]: " in line
    assert "'corpora.bundled_english.parts[0].dataset'" in line


def test_an_explicit_number_of_epochs_is_meant_for_every_task() -> None:
    assert FullFinetuning().epochs_by_task == {"rte": 10, "stsb": 10}
    assert FullFinetuning(epochs=2).epochs_by_task == {}
    assert FullFinetuning(epochs=2, epochs_by_task={"rte": 4}).epochs_by_task == {"rte": 4}


def test_missing_key_is_named() -> None:
    values = copy.deepcopy(DEFAULT)
    del values["name"]
    assert "'name' is required" in refused(values)


def test_values_cannot_be_changed_after_validation() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Corpus(parts=[{"source": "local", "path": "x"}]).shards = 7  # type: ignore[misc]


@pytest.mark.parametrize("recipe", FINETUNING_RECIPES)
def test_finetuning_recipe_sets_defaults_and_yields_to_what_is_given(recipe: str) -> None:
    settings = FullFinetuning.model_validate({"recipe": recipe})
    for key, value in FINETUNING_RECIPES[recipe].items():
        assert getattr(settings, key) == value
    assert FullFinetuning.model_validate({"recipe": recipe, "weight_decay": 0.5}).weight_decay == 0.5


def test_finetuning_recipes_are_the_published_ones() -> None:
    paper, google, rc2020 = (FullFinetuning.model_validate({"recipe": r}) for r in ("paper", "google_code", "rc2020"))
    # ELECTRA paper, table 7, against the defaults of google-research/electra's `configure_finetuning.py`.
    assert (paper.learning_rates, paper.weight_decay, paper.layerwise_lr_decay) == ([3e-4], 0.0, 0.8)
    assert (google.learning_rates, google.weight_decay, google.layerwise_lr_decay) == ([1e-4], 0.01, 0.8)
    assert google.double_unordered and not paper.double_unordered and not rc2020.double_unordered
    assert (rc2020.learning_rates, rc2020.weight_decay, rc2020.pooling) == ([3e-4], 0.01, "mean")
