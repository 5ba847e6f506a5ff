"""Retention in the config and the plan: what is measured, from which files, and what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from experiments import DEFAULT, refused

from electralab.config import Retention, load_experiment, used
from electralab.names import artifact_in, parse_measured, retention_folder, run_folder, run_name
from electralab.plan import Plan
from electralab.specs import RetentionSpec

BLOCK = {"models": ["tiny-g25"], "tasks": ["movie_sentiment"], "chains": [["quick_full", "half"]], "seeds": [0, 1]}
CHAINS = ("quick_full", "quick_full+half")


def experiment(change: Callable[[dict[str, Any]], Any] = lambda values: None, **settings: Any) -> dict[str, Any]:
    values = copy.deepcopy(DEFAULT)
    values["retention"] = {"held_out": {"corpus": "bundled_english", "window": 64, **settings}}
    values["run"] = {"finetuning": [{**BLOCK, "retention": ["held_out"]}]}
    change(values)
    return values


def plan(change: Callable[[dict[str, Any]], Any] = lambda values: None, **settings: Any) -> Plan:
    return Plan(load_experiment(experiment(change, **settings)))


def test_the_model_and_every_link_are_measured() -> None:
    runs = [run_name("tiny-g25", "movie_sentiment", chain, seed) for chain in CHAINS for seed in (0, 1)]
    assert plan().retention_runs == [("held_out", of) for of in ("tiny-g25", *runs)]
    assert plan().retention_records[0] == "artifacts/retention/held_out/tiny-g25/run.json"
    assert "retention" in plan().tables and "retention" in plan().kinds


def test_switching_it_on_tells_no_run_anything_else() -> None:
    def off(values: dict[str, Any]) -> None:
        del values["run"]["finetuning"][0]["retention"]

    on, without = plan(), plan(off)
    assert without.retention_runs == [] and "retention" not in without.tables
    assert on.finetuning_runs == without.finetuning_runs and on.pretraining_runs == without.pretraining_runs
    for run in on.finetuning_runs:
        assert on.run_spec(*run) == without.run_spec(*run) and on.run_inputs(*run) == without.run_inputs(*run)
    assert on.pretrain_spec("tiny-g25", 0) == without.pretrain_spec("tiny-g25", 0)
    assert json.loads(without.experiment.canonical())["run"]["finetuning"] == [BLOCK]


def test_a_measurement_reads_the_text_the_model_and_what_the_run_left() -> None:
    record = "artifacts/models/pretrained/tiny-g25/seed-0/run.json"
    corpus = "artifacts/corpora/bundled_english/manifest.json"
    assert plan().retention_inputs("held_out", "tiny-g25") == {"corpus": corpus, "pretrained": record}
    assert plan().retention_inputs("held_out", run_name("tiny-g25", "movie_sentiment", "quick_full+half", 1)) == {
        "corpus": corpus,
        "pretrained": record,
        "start": artifact_in(run_folder("tiny-g25", "movie_sentiment", "quick_full+half", 1)),
    }


def test_a_measurement_is_told_its_own_settings_alone() -> None:
    told = plan().retention_spec("held_out", run_name("tiny-g25", "movie_sentiment", "quick_full", 1))
    spec = RetentionSpec.model_validate_json(told)
    assert (spec.name, spec.model, spec.task, spec.method, spec.seed) == (
        *("held_out", "tiny-g25", "movie_sentiment", "quick_full"),
        1,
    )
    assert spec.settings == Retention(corpus="bundled_english", window=64)
    assert json.loads(told)["settings"] == {"corpus": "bundled_english", "window": 64}
    assert RetentionSpec.model_validate_json(plan().retention_spec("held_out", "tiny-g25")).task is None


def test_downloaded_and_untrained_models_say_what_they_are() -> None:
    def both(values: dict[str, Any]) -> None:
        values["run"]["finetuning"][0]["models"] = ["minilm", "tiny_random"]

    found = plan(both)
    manifest = "artifacts/models/downloaded/minilm/manifest.json"
    assert found.retention_inputs("held_out", "minilm")["pretrained"] == manifest
    assert json.loads(found.retention_spec("held_out", "minilm"))["downloaded"] == {"kind": "package"}
    assert "pretrained" not in found.retention_inputs("held_out", "tiny_random")


def test_another_generator_is_an_input_and_is_pretrained() -> None:
    found = plan(generator="tiny-g100")
    record = "artifacts/models/pretrained/tiny-g100/seed-0/run.json"
    assert found.retention_inputs("held_out", "tiny-g25")["generator"] == record
    assert ("tiny-g100", 0) in found.pretraining_runs and ("tiny-g50", 0) not in found.pretraining_runs


def test_what_it_needs_is_used() -> None:
    def other_text(values: dict[str, Any]) -> None:
        values["pretraining"]["more"] = {**values["pretraining"]["tiny"], "generator_sizes": [0.5]}
        values["retention"]["held_out"] |= {"corpus": "wikitext2", "generator": "more-g50"}
        values["retention"]["unused"] = {"corpus": "wikitext2"}

    kept = used(load_experiment(experiment(other_text)))
    assert set(kept.retention) == {"held_out"} and "wikitext2" in kept.corpora and "more" in kept.pretraining
    assert used(load_experiment(kept.model_dump(mode="json"))) == kept


def test_names_are_taken_apart_as_they_were_put_together() -> None:
    assert parse_measured("tiny-g25-at50") == ("tiny-g25-at50", None)
    assert parse_measured(run_name("m", "t", "a+b", 7)) == ("m", ("t", "a+b", 7))
    assert retention_folder("r", run_name("m", "t", "a", 0)) == "artifacts/retention/r/m/t/a/seed-0"
    for wrong in ("m/t", "m/t/a/b/c"):
        with pytest.raises(ValueError, match="unpack"):
            parse_measured(wrong)


def _named(values: dict[str, Any]) -> None:
    values["run"]["finetuning"][0]["retention"] = ["held_uot"]


def _seed(values: dict[str, Any]) -> None:
    values["pretraining"]["more"] = {**values["pretraining"]["tiny"], "seeds": [5]}
    values["retention"]["held_out"]["generator"] = "more-g50"


def _tokenizer(values: dict[str, Any]) -> None:
    values["tokenizers"]["other"] = {**values["tokenizers"]["wordpiece_2k"], "vocab_size": 1000}
    values["pretraining"]["more"] = {**values["pretraining"]["tiny"], "tokenizer": "other"}
    values["retention"]["held_out"]["generator"] = "more-g50"


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (
            _named,
            {},
            "run.finetuning[0].retention: unknown name 'held_uot'; did you mean 'held_out'? allowed: held_out",
        ),
        (None, {"corpus": "bundled"}, "retention.held_out.corpus: unknown name 'bundled'"),
        (None, {"generator": "tiny"}, "retention.held_out.generator: unknown name 'tiny'"),
        (None, {"generator": "tiny_random"}, "retention.held_out.generator: unknown name 'tiny_random'"),
        (None, {"window": 257}, "retention.held_out.window 257 is longer than the max_positions 256 of tiny-g25"),
        (None, {"stride": 63}, "stride 63 leaves out tokens between windows of 62 tokens of text: use at most 62"),
        (None, {"window": 7}, "retention.held_out.window: Input should be greater than or equal to 8"),
        (
            _tokenizer,
            {},
            "more-g50 reads with the tokenizer other and tiny-g25 with wordpiece_2k: name a generator with",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(change: Any, settings: dict[str, Any], said: str) -> None:
    assert said in refused(experiment(change or (lambda values: None), **settings))
