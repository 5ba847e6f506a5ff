"""Table `quantization`: what is lost and what is saved where a fine-tuned model is made smaller."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from electralab.catalogue import PRUNING
from electralab.report import footnotes
from electralab.report.compression import PARTS, Line, compressed, lines, mean, several_links
from electralab.report.grid import Column, Section, Table, difference_columns, frame, section, summary_columns
from electralab.report.pruning import link_words
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs
from electralab.report.statistics.differences import difference_text
from electralab.report.tables.score_cells import difference_cell, majority_scores, score_text
from electralab.report.text import ABSENT, count, listing, megabytes, named, number

SCOPES = {
    "published": "first feed-forward layers and head",
    "linear": "dense layers",
    "all": "dense layers and embeddings",
}
VOCABULARY = ("tokens_ratio", "unk_rate", "unk_rate_before")
# Means over seeds that the CSV has beside the columns of the page.
MEASURED = (
    *("agreement_with_previous", "logit_error", "expected_layers", "quantized_layers", "calibration_rows"),
    *("vocabulary_kept", "vocabulary_before", "rows_tokenized_otherwise", *VOCABULARY),
    *("fake_quantization_error", "agreement_with_fake_quantized", "validation_rows"),
)


def table(results: Results) -> Table:
    """A section for every task and model; below every uncompressed model the chains that go on from it.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs, layers = results.finetuned, results.detail("quantization_layers")
    groups = lines(runs)
    every = [line for own in groups.values() for line in own]
    numbers = frame(every, _csv(runs, layers))
    if not every:
        about = "No chain of this experiment stores a fine-tuned model smaller: there is nothing to compare."
        return Table("Quantization", about, numbers, footnotes.failed(runs))
    sections = [part for place, own in groups.items() for part in _sections(runs, layers, *place, own)]
    return Table(
        "Quantization",
        _about(runs, every),
        numbers,
        [*sections, *footnotes.failed(runs)],
        _notes(runs, every),
        [text for place, own in groups.items() for text in _answers(runs, *place, own)],
    )


# --- grids ----------------------------------------------------------------------------------------------------------

CHAIN: Column[Line] = Column("", lambda line: line.chain, "Chain")


def _sections(runs: Runs, layers: pd.DataFrame, task: str, model: str, own: Sequence[Line]) -> list[Section]:
    title = f"{task}, {runs.title(model)}"
    scores = section(f"{title} ({METRICS[runs.metric(task)]})", own, _columns(runs, layers, own))
    for majority in majority_scores(runs, task, model, [line.cell for line in own]):
        scores = scores.plus({"Chain": majority.name, "Score": number(majority.score)})
    known = [line for line in own if any(line.by_part.values())]
    return [scores, section(f"{title}: MB by part", known, SIZES)] if known else [scores]


def _columns(runs: Runs, layers: pd.DataFrame, own: Sequence[Line]) -> list[Column[Line]]:
    def over_seeds(metric: str) -> Callable[[Line], float | None]:
        return lambda line: mean(runs, line, metric) if line.parent else None

    beside_whole: list[Column[Line]] = [
        Column("", lambda line: line.minus_whole, "Minus uncompressed", difference_cell),
    ]
    return [
        CHAIN,
        Column("", lambda line: f"{score_text(line.score)}{footnotes.mark(runs, line.arm)}", "Score"),
        Column("", lambda line: line.minus_parent, "Minus parent", difference_cell),
        *(beside_whole if several_links(own) else []),
        Column("", over_seeds("agreement_with_previous"), "Agreement with parent", number),
        Column("", over_seeds("logit_error"), "Logit error", number),
        Column("", lambda line: line.bytes, "MB", megabytes),
        Column("", lambda line: line.share, "% of fp32", lambda share: number(share and 100 * share, 1)),
        Column("", lambda line: what(runs, layers, line), "What is smaller", lambda text: text or ABSENT, left=True),
    ]


def _part(part: str) -> Callable[[Line], float | None]:
    return lambda line: line.by_part[part]


SIZES: list[Column[Line]] = [
    CHAIN,
    Column("", _part("embeddings"), "Embeddings", megabytes),
    Column("", _part("linear"), "Dense layers", megabytes),
    Column("", _part("head"), "Head", megabytes),
    Column("", _part("other"), "Other", megabytes),
    Column("", lambda line: line.bytes, "Weights together", megabytes),
    Column("", _part("tokenizer"), "Tokenizer", megabytes),
]


def what(runs: Runs, layers: pd.DataFrame, line: Line) -> str:
    """What the last link of a chain makes smaller, in words: read from the saved files where they list their layers."""
    kept, before = (mean(runs, line, f"vocabulary_{name}") for name in ("kept", "before"))
    if kept is not None and before is not None:
        return f"vocabulary: {count(kept)} of {count(before)} pieces"
    if line.kind in PRUNING:
        return link_words(runs, line.chain)
    scope = runs.setting(line.chain, "scope")
    found = SCOPES.get(scope, "dense layers" if mean(runs, line, "quantized_layers") else "")
    own = layers[(layers[["task", "model", "method"]] == [line.cell.task, line.model, line.chain]).all(axis=1)]
    own = own[own["seed"] == own["seed"].min()]
    few = own[own["bits"] < 16]
    if len(few):
        bits = listing([str(bits) for bits in sorted(few["bits"].unique())])
        return f"{bits} bits: {found}, {len(few)} of {len(own)} layers"
    if found:
        return f"{found}, {count(mean(runs, line, 'quantized_layers'))} layers"
    storage = runs.setting(line.chain, "storage")
    if not storage or line.chain not in compressed(runs):
        return ""
    computed = ", computed in bf16" if runs.setting(line.chain, "compute") == "bf16" else ""
    return f"all weights, {storage}{computed}"


def _csv(runs: Runs, layers: pd.DataFrame) -> list[Column[Line]]:
    def over_seeds(metric: str) -> Column[Line]:
        return Column(metric, lambda line: mean(runs, line, metric))

    return [
        Column("row", lambda line: runs.title(line.model)),
        Column("model", lambda line: line.model),
        Column("task", lambda line: line.cell.task),
        Column("method", lambda line: line.chain),
        Column("kind", lambda line: line.kind),
        Column("recipe", lambda line: runs.setting(line.chain, "recipe")),
        Column("scope", lambda line: runs.setting(line.chain, "scope")),
        Column("uncompressed", lambda line: line.whole),
        Column("parent", lambda line: line.parent),
        Column("metric", lambda line: runs.metric(line.cell.task)),
        *summary_columns(lambda line: line.score),
        *difference_columns("minus_parent", lambda line: line.minus_parent),
        *difference_columns("minus_uncompressed", lambda line: line.minus_whole),
        *map(over_seeds, MEASURED),
        Column("bytes", lambda line: line.bytes),
        Column("share_of_uncompressed", lambda line: line.share),
        *(Column(f"bytes.{part}", _part(part)) for part in PARTS),
        Column("what", lambda line: what(runs, layers, line)),
    ]


# --- sentences ------------------------------------------------------------------------------------------------------


def _answers(runs: Runs, task: str, model: str, own: Sequence[Line]) -> list[str]:
    """Of every uncompressed model the smallest chain without a difference shown, and which chains lose or gain."""
    found = []
    for whole in dict.fromkeys(line.whole for line in own):
        group = [line for line in own if line.whole == whole]
        first = next((line for line in group if line.chain == whole and line.score), None)
        others = [line for line in group if line.chain != whole and line.minus_whole]
        start = f"**{task}, {runs.title(model)}:**"
        if first is None or not others:
            found.append(f"{start} no finished run of `{whole}` and of a chain that goes on from it.")
            continue
        by_verdict: dict[str, list[Line]] = {}
        for line in others:
            assert line.minus_whole is not None
            by_verdict.setdefault(line.minus_whole.verdict, []).append(line)
        parts = [f"`{whole}` {score_text(first.score)}, {megabytes(first.bytes)} MB"]
        if unclear := by_verdict.get("unclear"):
            parts.append(f"smallest with no difference shown: {_said(min(unclear, key=_size))}")
        if unknown := by_verdict.get("unknown"):
            parts.append(f"one common seed, no verdict; smallest: {_said(min(unknown, key=_size))}")
        parts += [
            f"{said}: {listing([_said(line) for line in by_verdict[verdict]])}"
            for verdict, said in (("lower", "worse"), ("higher", "better"))
            if verdict in by_verdict
        ]
        found.append(f"{start} {'; '.join(parts)}. Differences are to `{whole}`.")
    return found


def _size(line: Line) -> float:
    return line.bytes or float("inf")


def _said(line: Line) -> str:
    share = "" if line.share is None else f", {100 * line.share:.0f} %"
    return f"`{line.chain}` {difference_text(line.minus_whole)} ({megabytes(line.bytes)} MB{share})"


def _about(runs: Runs, every: Sequence[Line]) -> str:
    rows = runs.rows_of(line.arm for line in every)
    return (
        f"{footnotes.measured(rows, 'runs')} Scores: mean over seeds, in brackets its 95 % interval (Student t), n "
        "seeds; one seed has no interval. `Minus parent`: the difference to the link before, on the seeds and rows "
        "that both have; its 95 % interval covers both. Agreement: the share of validation rows that are answered as "
        "the parent answered them; logit error: |logits - the parent's| / |the parent's| on 128 validation rows; both "
        f"means over seeds.{footnotes.sampling(runs, [line.arm for line in every])}"
    )


def _notes(runs: Runs, every: Sequence[Line]) -> list[str]:
    fp32 = [line.chain for line in every if runs.setting(line.chain, "scope") in ("linear", "published")]
    kept = f" Embeddings stay in 32 bits in {named(list(dict.fromkeys(fp32)))}." if fp32 else ""
    published = " Published sizes stand beside these in the table `vs_published`." if _on_glue(runs, every) else ""
    notes = [
        "MB are 1,000,000 bytes (a MiB is 1.049 MB) of the files of weights that are loaded: embeddings, dense layers, "
        "head, and all else (norms, biases, the graph); the tokenizer's file is not in them. `% of fp32`: of those of "
        f"the uncompressed model at the top of the group.{kept}{published}",
        f"{footnotes.no_difference(line.minus_whole for line in every)} Agreement and logit error tell chains apart "
        "where scores do not.",
    ]
    notes += _trimmed(runs, every) + _trained(runs, every)
    return notes + footnotes.marked(runs, [line.arm for line in every])


def _on_glue(runs: Runs, every: Sequence[Line]) -> bool:
    return any(runs.glue(line.cell.task) for line in every)


def _trimmed(runs: Runs, every: Sequence[Line]) -> list[str]:
    """What a smaller vocabulary changes: it is not lossless."""
    parts = []
    for line in every:
        otherwise = mean(runs, line, "rows_tokenized_otherwise")
        if otherwise is not None:
            ratio, unknown, before = (
                mean(runs, line, name) for name in ("tokens_ratio", "unk_rate", "unk_rate_before")
            )
            parts.append(
                f"`{line.chain}` on {line.cell.task}, {runs.title(line.model)}: {_percent(otherwise, 1)} of validation "
                f"rows are tokenized otherwise, {number(ratio)} times as many tokens, [UNK] {_percent(unknown, 3)} of "
                f"tokens ({_percent(before, 3)} before)"
            )
    return [f"A trimmed vocabulary is not lossless. {'; '.join(parts)}."] if parts else []


def _percent(share: float | None, digits: int) -> str:
    return f"{number(share and 100 * share if share is not None else None, digits)} %"


def _trained(runs: Runs, every: Sequence[Line]) -> list[str]:
    """What training with quantization saw of it."""
    parts = []
    for line in every:
        error, agreement = (
            mean(runs, line, name) for name in ("fake_quantization_error", "agreement_with_fake_quantized")
        )
        if error is not None:
            recipe = " (`as_published`)" if runs.setting(line.chain, "recipe") == "as_published" else ""
            parts.append(
                f"`{line.chain}`{recipe} on {line.cell.task}, {runs.title(line.model)}: error {error:.2g}, the saved "
                f"graph answers {number(agreement)} of the rows as the trained model does"
            )
    if not parts:
        return []
    return [
        "Quantization-aware training: the rounding error that it saw, mean over layers; 0, as in the published study, "
        f"is post-training quantization by another name. {'; '.join(parts)}."
    ]
