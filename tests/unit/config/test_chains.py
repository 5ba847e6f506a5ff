"""Chains of methods: which runs they are, and which are refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from experiments import refused, with_block
from hypothesis import given
from hypothesis import strategies as st

from electralab.config import (
    DynamicInt8,
    FullFinetuning,
    Half,
    InContext,
    LinearProbe,
    Link,
    Lora,
    Merge,
    Nf4,
    Prefix,
    Prompt,
    Prune,
    Qlora,
    TfidfBaseline,
    check_chain,
    load_experiment,
    with_prefixes,
)

METHODS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "lora": {"kind": "lora"},
    "merge": {"kind": "merge"},
    "half": {"kind": "half"},
    "ask": {"kind": "in_context"},
    "unsaved": {"kind": "full", "save_model": False},
    "rc2020": {"kind": "full", "recipe": "rc2020"},
    "prefix": {"kind": "prefix"},
    "int8": {"kind": "qlora", "storage": "int8"},
    "prune": {"kind": "prune"},
    "prune_first": {"kind": "prune_full"},
    "remove": {"kind": "remove", "layers": [0]},
    "graph": {"kind": "dynamic_int8"},
    "few": {"kind": "nf4"},
}
EXAMPLES: dict[str, Callable[[], Link]] = {
    "full": FullFinetuning,
    "lora": Lora,
    "nf4": Qlora,
    "probe": LinearProbe,
    "merge": Merge,
    "half": Half,
    "ask": InContext,
    "tfidf": TfidfBaseline,
}
# Written by hand from what the methods do, not from what they declare.
GOOD = {
    *(("full",), ("lora",), ("nf4",), ("probe",), ("ask",), ("tfidf",)),
    *((trained, *more) for trained in ("full", "probe") for more in (("half",), ("ask",), ("half", "ask"))),
    *((adapter, "merge") for adapter in ("lora", "nf4")),
    *((adapter, "ask") for adapter in ("lora", "nf4")),
    *((adapter, "merge", "half") for adapter in ("lora", "nf4")),
    *((adapter, "merge", "ask") for adapter in ("lora", "nf4")),
}


@pytest.mark.parametrize("length", [1, 2, 3])
def test_every_chain_of_methods_is_accepted_or_refused_rightly(length: int) -> None:
    accepted = {
        names
        for names in product(EXAMPLES, repeat=length)
        if check_chain([EXAMPLES[name]() for name in names], names) is None
    }
    assert accepted == {names for names in GOOD if len(names) == length}


@pytest.mark.parametrize("adapter", [Prefix(), Prompt(), Qlora(storage="int8")])
def test_what_cannot_be_merged_exactly_is_refused(adapter: Link) -> None:
    wrong = check_chain([adapter, Merge()], ["adapter", "merge"])
    assert wrong is not None and "merge does not fit after adapter" in wrong


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), max_size=5))
def test_every_beginning_of_a_chain_is_a_run_once_and_before_what_goes_on_from_it(chains: list[list[str]]) -> None:
    runs = with_prefixes(chains)
    assert len(set(runs)) == len(runs)
    assert set(runs) == {tuple(chain[:end]) for chain in chains for end in range(1, len(chain) + 1)}
    assert all(run[:-1] in runs[:index] for index, run in enumerate(runs) if len(run) > 1)


def test_runs_of_a_block_are_its_methods_and_every_beginning_of_its_chains() -> None:
    experiment = load_experiment(
        with_block(METHODS, methods=["full"], chains=[["lora", "merge", "half"], ["full", "half"]])
    )
    assert experiment.chains(experiment.run.finetuning[0]) == [
        ("full",),
        ("lora",),
        ("lora", "merge"),
        ("lora", "merge", "half"),
        ("full", "half"),
    ]


def test_a_grid_in_a_chain_stands_for_each_of_its_methods() -> None:
    values = with_block(METHODS, chains=[["ranks", "merge", "stores"]])
    values["grids"] = {
        "ranks": {"method": "lora", "over": {"rank": [2, 4]}},
        "stores": {"method": "half", "over": {"storage": ["fp16", "bf16"]}},
    }
    experiment = load_experiment(values)
    assert experiment.chains(experiment.run.finetuning[0]) == [
        ("ranks_rank2",),
        ("ranks_rank2", "merge"),
        ("ranks_rank2", "merge", "stores_storagefp16"),
        ("ranks_rank2", "merge", "stores_storagebf16"),
        ("ranks_rank4",),
        ("ranks_rank4", "merge"),
        ("ranks_rank4", "merge", "stores_storagefp16"),
        ("ranks_rank4", "merge", "stores_storagebf16"),
    ]


@pytest.mark.parametrize(
    ("chain", "parts"),
    [
        (["full", "merge"], ["chain full+merge: merge opens an adapter", "full leaves", "before it: lora"]),
        (["half"], ["chain half: half cannot be first", "before it: full, linear_probe, merge"]),
        (
            ["lora", "half"],
            ["half opens a fine-tuned Hugging Face model", "lora leaves an adapter", "linear_probe, merge"],
        ),
        (["full", "full"], ["full opens a pretrained model", "put it first"]),
        (["lora", "merge", "half", "half"], ["half does not fit after half", "16 bits already", "leave half out"]),
        (["ask", "half"], ["ask leaves nothing that half could go on from", "end the chain there"]),
        (["unsaved", "half"], ["half has nothing to go on from after unsaved", "save_model"]),
        (["rc2020", "half"], ["after rc2020", "head: huggingface on pooling: mean"]),
        (["prefix", "merge"], ["a prefix is no change of weights"]),
        (["int8", "merge"], ["int8 layers round their inputs"]),
        (["full", "prune", "lora"], ["lora opens a pretrained model", "kind prune_as_you_tune", "its zeros stay"]),
        (["prune_first", "lora"], ["prune_first leaves a fine-tuned", "kind prune_as_you_tune"]),
        (["full", "remove", "lora"], ["lora opens a pretrained model", "put it first"]),
        (["full", "graph", "prune"], ["prune opens a fine-tuned Hugging Face model", "graph leaves an ONNX graph"]),
        (["full", "few", "prune"], ["prune opens", "few leaves a model whose weights are in few bits"]),
        (["full", "graph", "remove"], ["remove opens", "graph leaves an ONNX graph"]),
        (["int8", "merge", "prune"], ["int8 layers round their inputs"]),
        (["full", "int4"], ["run.finetuning[0].chains", "'int4'", "allowed"]),
        (["tfidf", "full"], ["run.finetuning[0].chains", "'tfidf'"]),
        ([], ["run.finetuning", "chains", "at least 1"]),
    ],
)
def test_links_that_do_not_fit_are_one_line(chain: list[str], parts: list[str]) -> None:
    line = refused(with_block(METHODS, chains=[chain]))
    assert [part for part in parts if part not in line] == []


@pytest.mark.parametrize(("small", "left"), [(DynamicInt8, "an ONNX graph"), (Nf4, "weights are in few bits")])
def test_what_is_in_few_bits_is_not_pruned(small: Callable[[], Link], left: str) -> None:
    wrong = check_chain([FullFinetuning(), small(), Prune()], ["full", "small", "prune"])
    assert wrong is not None and "prune opens a fine-tuned Hugging Face model, and small leaves" in wrong
    assert left in wrong and "put one of these kinds before it" in wrong


def test_methods_of_a_block_are_checked_as_chains_of_one_link() -> None:
    assert "run.finetuning[0]: chain merge: merge cannot be first" in refused(with_block(METHODS, methods=["merge"]))


def test_a_block_without_methods_and_chains_is_refused() -> None:
    assert "a block needs methods or chains" in refused(with_block(METHODS))


def test_asking_an_encoder_that_was_pretrained_here_is_refused_at_the_end_of_a_chain_too() -> None:
    values = with_block(METHODS, models=["tiny"], chains=[["full", "ask"]])
    assert "methods.ask is for decoders, and tiny is none" in refused(values)
