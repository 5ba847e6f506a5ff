"""Whether a number of ours may be compared with a published one: what is known to differ, and what nobody knows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pandas as pd

from electralab.config import FullFinetuning, Pretraining, Strict
from electralab.names import chain_links, parse_model
from electralab.report.compression import compressed
from electralab.report.entries import AS_PUBLISHED, IN_CONTEXT
from electralab.report.pruning import AS_YOU_TUNE, FIXED, NO_TEACHER, teacher
from electralab.report.published.ours import Ours, pretraining_options
from electralab.report.published.reference import same_model
from electralab.report.runs import FULL, Cell, Runs
from electralab.report.text import count, listing

# MNLI's validation sets, and how sources that do not report the matched one are told apart.
MNLI_VARIANTS = {
    "mnli_both": "their MNLI is matched and mismatched together",
    "mnli_unstated": "whether their MNLI is matched or mismatched is not stated",
}
SPLITS = {"test": "the test split", "validation sample": "a sample of the validation split"}
SCORED_ON_TEST = ("imdb",)  # data sets without validation rows
OPTIONS = ("storage", "rank", "alpha", "targets", "virtual_tokens")
WITHOUT_TARGETS = ("ia3", "prefix", "prompt", "linear_probe")
PRUNED_FIRST = "prune_full"
OWN_RECIPE = "own"  # a source that trains by a recipe that is none of ours
WEIGHTS = "ours: the frozen weights as stored and, in 32 bits, what is trained"
FILES = "ours: the files of weights"
SCOPES = {"intermediate;classifier": "published"}  # what `targets` of quantized models are called here
FEW_SEEDS = 3
# Options that are compared by themselves, or do not decide what is learnt; the others make up a recipe.
PRETRAINING_APART = {
    *("corpus", "tokenizer", "recipe", "discriminator", "generator_sizes", "seeds", "steps", "batch_size"),
    *("sequence_length", "gradient_accumulation", "precision", "snapshots", "unigram_warmup"),
    *("evaluation_every", "evaluation_sequences", "checkpoint_every"),
}
FINETUNING_APART = {
    *("kind", "recipe", "epochs", "epochs_by_task", "max_length", "max_train_rows"),
    *("answers", "answer_test", "save_model"),
}
Row = Mapping[Hashable, Any]


@dataclass
class Verdict:
    """`against` a comparison speaks what differs; `reservations` is what is unknown, or is the protocol's alone."""

    against: list[str] = field(default_factory=list)
    reservations: list[str] = field(default_factory=list)
    unstated: list[str] = field(default_factory=list)

    @property
    def comparable(self) -> str:
        """`yes`, `roughly` or `no`."""
        return "no" if self.against else "roughly" if self.reservations or self.unstated else "yes"

    @property
    def why(self) -> str:
        """Every reason, the weightiest first."""
        verb = "is" if len(self.unstated) == 1 else "are"
        unstated = [f"their {listing(self.unstated)} {verb} not stated"] if self.unstated else []
        return "; ".join(dict.fromkeys([*self.against, *self.reservations, *unstated]))

    def compare(self, what: str, own: Any, theirs: Any, protocol: bool = False) -> None:
        """Note a difference (of the protocol: a reservation) or that theirs is not stated; None of ours is skipped."""
        if own is None:
            return
        if theirs == "" or pd.isna(theirs):
            self.unstated += [what] if what not in self.unstated else []
        elif plain(own) != plain(theirs):
            there = "its own" if theirs == OWN_RECIPE else plain(theirs)
            (self.reservations if protocol else self.against).append(f"{what} {plain(own)} (theirs {there})")


def judge(runs: Runs, ours: Ours, theirs: Row, ids: Sequence[str]) -> Verdict:
    """Compare two scores by model, pretraining, rows, metric, method and protocol; `ids`: our model in `model_id`."""
    verdict = Verdict()
    if not same_model(theirs["model_id"], ids):
        verdict.against.append("another model")
    elif not runs.is_downloaded(ours.model):
        _compare_pretraining(verdict, runs, ours.model, theirs)
    _compare_rows(verdict, runs, ours, theirs)
    collapsed = False
    for method in ours.methods:
        _compare_options(verdict, runs, method, theirs)
        if runs.kinds[method] == "qat" and runs.setting(method, "recipe") != AS_PUBLISHED:
            verdict.against.append("theirs saw no rounding while it trained (`recipe: as_published`)")
        _compare_training(verdict, runs, *_trained(runs, ours, method), theirs)
        collapsed = collapsed or (_leaves_head(runs, method) and theirs["trained_head"] == "no")
    if collapsed:
        too = "as is ours" if runs.at_majority(ours.cells[0], ours.model) else "ours is not"
        verdict.reservations.append(f"theirs is the majority class, its head packed in 4 bits and untrained; {too}")
    elif any(runs.degenerate_runs(cell, ours.model) for cell in ours.cells):
        verdict.against.append("ours has degenerate runs")
    if ours.seeds < FEW_SEEDS:
        verdict.reservations.append(f"ours has {ours.seeds} seed{'s' if ours.seeds != 1 else ''}")
    if not theirs["protocol"].startswith("median"):
        verdict.reservations.append(f"theirs: {theirs['protocol'] or 'protocol not stated'}")
    return verdict


def judge_size(runs: Runs, ours: Ours, theirs: Row, ids: Sequence[str]) -> Verdict:
    """Compare what decides how much is trained or stored: model and options, not how it was trained."""
    verdict = Verdict() if same_model(theirs["model_id"], ids) else Verdict(["another model"])
    _compare_options(verdict, runs, ours.method, theirs)
    if theirs["metric"] == "parameter_memory" and theirs["storage"] == "int8":
        verdict.against.append("theirs counts the parameters that stayed in fp32, without the int8 weights")
    if ours.method in compressed(runs):
        verdict.reservations.append(FILES)
        verdict.reservations += [] if pd.isna(theirs["rank"]) else ["theirs has an adapter too"]
    elif not ours.metric.startswith("trainable"):
        verdict.reservations.append(WEIGHTS)
    return verdict


def _compare_pretraining(verdict: Verdict, runs: Runs, model: str, theirs: Row) -> None:
    told = pretraining_options(runs, model)
    text, their_text = told["corpus"], theirs["pretraining_corpus"]
    verdict.compare("pretraining text", text, text if _name(text) == _name(their_text) else their_text)
    steps = round(told["steps"] * parse_model(model).done / 100)
    verdict.compare("pretraining steps", steps, theirs["pretraining_steps"])
    for name in ("generator_size", "batch_size", "sequence_length"):
        verdict.compare(f"pretraining {name.replace('_', ' ')}", told[name], theirs[name])
    recipe = Pretraining(corpus="any", tokenizer="any", recipe=told["recipe"])
    verdict.compare("pretraining recipe", recipe.recipe, theirs["pretraining_recipe"])
    if extensions := told.get("extensions"):
        verdict.against.append(f"ours rests on extensions over the paper: {listing(extensions.split(';'))}")
    apart = PRETRAINING_APART | ({"initialization"} if extensions else set())
    if changed := _changed(recipe, apart, told.get):
        verdict.against.append(f"ours changes its pretraining recipe: {changed}")


def _name(text: str) -> str:
    return text.replace(" ", "").replace("_", "").lower()


def _changed(recipe: Strict, apart: set[str], told: Callable[[str], Any]) -> str:
    """Options that were told otherwise than the recipe says, with their values; empty where there is none."""
    usual = {name: plain(value) for name, value in recipe.model_dump().items() if name not in apart}
    own = {name: plain(value) for name in usual if (value := told(name)) is not None}
    return ", ".join(f"`{name}` {value}" for name, value in own.items() if value != usual[name])


def _compare_rows(verdict: Verdict, runs: Runs, ours: Ours, theirs: Row) -> None:
    """Task set, split, metric, and rows that are fewer than, or other than, those of the official splits."""
    if theirs["split"] != "validation" and ours.id not in SCORED_ON_TEST:
        verdict.against.append(f"theirs is on {SPLITS.get(theirs['split'], 'another split')}")
    if theirs["metric"] != ours.metric:
        verdict.against.append("their metric is not stated")
    tasks = set(theirs["finetuned_on"].split(";")) - set(ours.tasks)
    verdict.against += [MNLI_VARIANTS[task] for task in sorted(tasks & MNLI_VARIANTS.keys())]
    for cell in ours.cells:
        prefix = f"{cell.task}: " if len(ours.cells) > 1 else ""
        for split, verb in (("train", "trained"), ("validation", "scored")):
            own = runs.by_seed(cell, ours.model, f"{split}_rows").values()
            official = runs.by_seed(cell, ours.model, f"official_{split}_rows").values()
            if own and official and min(own) != max(official) and (split == "validation" or min(own) < max(official)):
                rows = f"{count(min(own))} of {count(max(official))}"
                verdict.against.append(f"{prefix}ours is {verb} on {rows} {split} rows")


def _compare_options(verdict: Verdict, runs: Runs, method: str, theirs: Row) -> None:
    """What decides the shape of an adapter, and whether the head is trained."""
    kind = runs.kinds[method]
    if kind == FULL:
        return
    if scope := runs.setting(method, "scope"):
        verdict.compare("scope", scope, SCOPES.get(theirs["targets"], ""))
    if kind == PRUNED_FIRST:
        verdict.compare("sparsity", runs.setting(method, "sparsity"), theirs["sparsity"])
        if theirs["system"] != AS_YOU_TUNE and runs.setting(method, "parts") != "published":
            verdict.against.append("theirs prunes biases and the head too (`parts: published`)")
    if theirs["system"] == AS_YOU_TUNE:
        _compare_as_you_tune(verdict, runs, method, theirs)
    for name in OPTIONS:
        if name != "targets" or kind not in WITHOUT_TARGETS:
            verdict.compare(name.replace("_", " "), runs.setting(method, name), theirs[name])
    if kind == IN_CONTEXT:
        verdict.unstated.append("number of examples in the prompt")
    elif theirs["trained_head"] == "no" and not _leaves_head(runs, method):
        verdict.against.append("theirs left its head packed in 4 bits and untrained; ours trains it")
    elif theirs["trained_head"] == "yes" and _leaves_head(runs, method):
        verdict.against.append("ours leaves its head packed and untrained, theirs does not")


def _compare_as_you_tune(verdict: Verdict, runs: Runs, method: str, theirs: Row) -> None:
    """Whether there are zeros, of what, when they come, and who teaches."""
    if pd.isna(theirs["sparsity"]):
        return
    verdict.against.append("theirs prunes LayerNorm gains and the pooler too")
    if runs.kinds[method] != AS_YOU_TUNE:
        return
    verdict.against.append("theirs has no zeros left once its LoRA is merged")
    verdict.compare("sparsity", runs.setting(method, "sparsity"), theirs["sparsity"])
    verdict.compare("compared among", runs.setting(method, "among"), "global")
    for name, own in teaching(runs, method).items():
        verdict.compare(name.replace("_", " "), own, theirs[name])
    if teacher(runs, method) == FIXED:
        verdict.against.append("nothing trained their teacher (`teacher_recipe: as_published`)")


def teaching(runs: Runs, method: str) -> dict[str, Any]:
    """When Prune As You Tune prunes and who teaches it, as published rows say it; their alpha is the labels' weight."""
    growth = runs.setting(method, "growth")
    if runs.kinds[method] != AS_YOU_TUNE or growth == "once":
        return {}
    late = (runs.setting(method, "prune_from") or 0) > 0
    told: dict[str, Any] = {"schedule": f"{'delayed_' if late else ''}{growth}"}
    if teacher(runs, method) != NO_TEACHER and runs.setting(method, "distillation_alpha"):
        told |= {"kd_alpha": 1 - float(runs.setting(method, "distillation_alpha"))}
        told |= {"kd_temperature": float(runs.setting(method, "temperature"))}
    return told


def _trained(runs: Runs, ours: Ours, method: str) -> tuple[Ours, str]:
    """What trained a model: of a chain that makes one smaller its first link, else the method itself."""
    first = chain_links(method)[0]
    if method not in compressed(runs) or first not in runs.kinds:
        return ours, method
    return replace(ours, cells=tuple(Cell(cell.task, first) for cell in ours.cells)), first


def _leaves_head(runs: Runs, method: str) -> bool:
    """Whether a method repeats the mistake that brought a published QLoRA to the majority class."""
    return runs.kinds[method] == "qlora" and runs.setting(method, "recipe") == AS_PUBLISHED


def _compare_training(verdict: Verdict, runs: Runs, ours: Ours, method: str, theirs: Row) -> None:
    """How a model was asked and trained: recipe, passes, length, and how a decoder answers."""
    kind = runs.kinds[method]
    if theirs["answers"] == AS_PUBLISHED and runs.setting(method, "answers") != AS_PUBLISHED:
        how = "theirs reads bare Yes and No and trains on the whole vocabulary (`answers: as_published`)"
        verdict.reservations.append(how)
    if kind == IN_CONTEXT:
        if theirs["examples_from"] == "validation":
            verdict.reservations.append("theirs shows solved validation rows, ours training rows")
        return
    verdict.compare("epochs", _epochs(runs, ours), theirs["epochs"])
    verdict.compare("input length", runs.setting(method, "max_length"), theirs["max_length"])
    if kind == FULL:
        recipe = FullFinetuning(recipe=runs.setting(method, "recipe"))
        verdict.compare("fine-tuning recipe", recipe.recipe, theirs["finetuning_recipe"], protocol=True)
        if changed := _changed(recipe, FINETUNING_APART, partial(runs.setting, method)):
            verdict.reservations.append(f"ours changes its fine-tuning recipe: {changed}")


def _epochs(runs: Runs, ours: Ours) -> str | None:
    """The numbers of passes behind a number, as `reference/` writes them: `3`, or `3;10` of an average."""
    found = {value for cell in ours.cells for value in runs.by_seed(cell, ours.model, "epochs").values()}
    return ";".join(plain(value) for value in sorted(found)) or None


def plain(value: Any) -> str:
    """One text for the forms that a value has in configurations and in CSV files: 3, 3.0, `3` and [3] are `3`."""
    if isinstance(value, str) and ";" in value:
        value = value.split(";")
    if isinstance(value, (list, tuple)):
        return ";".join(sorted(map(plain, value), key=lambda text: (len(text), text)))
    if str(value) in ("True", "False"):
        return str(value)
    try:
        return f"{float(value):,.12g}"
    except (TypeError, ValueError):
        return str(value)
