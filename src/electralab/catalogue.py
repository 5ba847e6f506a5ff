"""The only list of tables and figures: what each is called, what it shows, and which experiments have it.

A table's code is `electralab.report.tables.<name>.table`, a figure's `electralab.report.figures.<name>.figure`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

# Kinds of links: those that set weights to zero or take structures out, that train under a teacher a smaller model, and
# that store weights smaller.
PRUNING = ("prune", "prune_as_you_tune", "prune_full", "recover", "remove", "remove_heads")
DISTILLATION = ("distil",)
STORED_SMALLER = (
    *("bnb_int8", "dynamic_int8", "half", "nf4", "openvino_int8", "qat", "static_int8", "trim_vocabulary"),
    *("weight_only_int4", "weight_only_int8"),
)
FEW_BITS = tuple(kind for kind in STORED_SMALLER if kind not in ("half", "trim_vocabulary"))
PUBLISHED_TASKS = ("imdb", "sst5")  # beside GLUE, by the names that they have in published results
# What an experiment may have (`electralab.plan.Plan.kinds`), as far as a table or a figure depends on it.
KINDS: dict[str, str] = {
    "pretraining": "a pretraining",
    "finetuning": "a fine-tuning",
    "full": "a model that is fine-tuned whole",
    "adapter": "an adapter or a linear probe",
    "decoder": "a decoder",
    "glue": "a GLUE task",
    "published_task": "the task `imdb` or `sst5`",
    "grid": "a grid over rank and alpha",
    "prune_rates": "a method that prunes at several rates",
    "search": "a search",
    "benchmark": "a benchmark",
    "latency": "a benchmark of batches of rows of one length",
    "task_lengths": "a benchmark of the rows of a task",
    "cold_start": "a benchmark of first answers",
    "retention": "a measurement of retention",
    "two_protocols": "a method with one learning rate and the same method with several",
} | {kind: f"`{kind}`" for kind in (*PRUNING, *DISTILLATION, *STORED_SMALLER)}


class Item(NamedTuple):
    """A table or a figure. An experiment has it if it has one of `needs`, which are of `KINDS`."""

    title: str
    caption: str
    needs: frozenset[str]


def _item(title: str, needs: str, caption: str) -> Item:
    return Item(title, " ".join(caption.split()), frozenset(needs.split()))


TABLES: dict[str, Item] = {
    "pretraining": _item(
        "Pretraining",
        "pretraining",
        """What each pretraining learnt, on held-out documents at the end of training. The generator: MLM loss, and how
        far it is below the cross-entropy of a model that knows word frequencies only. The discriminator: AUC against
        its own generator, which sets every size another exam; AUC on unigram replacements, the same exam for all; and
        its loss beside the entropy of the replaced rate, which a constant reaches.""",
    ),
    "generator_size": _item(
        "Generator size",
        "pretraining",
        """Generator size against what it buys: MLM loss, RTD AUC and the validation score of the fine-tuned
        discriminator on each task. At the bottom: the pretraining without the extensions, the same network never
        pretrained, TF-IDF with a linear model, and the majority class. Tasks marked *synthetic* have labels made by a
        program.""",
    ),
    "efficiency": _item(
        "Efficiency",
        "pretraining",
        """What a score cost: parameters (tied ones counted once in the total), time, hardware, and FLOPs counted in
        two named conventions (`electra_paper`, `matmul_3x`). The score is the mean over the human-labelled tasks; a
        model that did not finish all of them has none.""",
    ),
    "downstream": _item(
        "Downstream tasks",
        "full",
        """Every model on every task, over seeds. GLUE tasks and averages stand apart from tasks that are not GLUE;
        averages name their set (`glue8`: the paper's, without WNLI; `glue9`: with it). A dagger marks runs that predict
        one class only.""",
    ),
    "vs_published": _item(
        "Beside published results",
        "glue published_task",
        """Our scores beside published ones of the same task, metric and kind of method, with the difference, the
        protocol behind the published number, and whether the two can be compared at all. Adapters also stand beside
        what the published ones train and store.""",
    ),
    "adapters": _item(
        "Adapters",
        "adapter",
        """Ways of fine-tuning a model on a task: full, with an adapter, the head alone, or no training at all. Score,
        the difference to full fine-tuning, trained parameters, bytes, time and memory. The recipe `as_published`
        repeats the mistakes of a published study.""",
    ),
    "quantization": _item(
        "Quantization",
        " ".join(STORED_SMALLER),
        """What it costs to make a fine-tuned model smaller: every chain below the uncompressed model that it goes on
        from, with its score, the paired difference to the link before it, how many rows both answer alike, and the
        bytes of the files that are loaded, by part. Sizes are MB of 1,000,000 bytes.""",
    ),
    "quantization_layers": _item(
        "Quantization by layer",
        " ".join(FEW_BITS),
        """Every dense layer and embedding of the quantized models, in the order of the network: bits of a weight,
        bytes, and how far the stored weights are from those of the link before (relative, Frobenius), read from the
        saved files.""",
    ),
    "pruning": _item(
        "Pruning",
        " ".join(PRUNING),
        """What it costs to set weights of a model to zero, or to take layers, neurons or heads out: below the
        dense model every chain that does, with its share of zeros, its score, the paired difference to the dense model,
        and the bytes of its files before and after zlib.""",
    ),
    "prune_rate": _item(
        "Prune rate",
        "prune_rates",
        """Score against the share of weights that a method sets to zero: a row a rate, a column a method, each with its
        interval, and the paired differences to the dense model. Published rates stand beside them where the task is
        the same.""",
    ),
    "retention": _item(
        "Retention of pretraining",
        "retention",
        """What models still know of their pretraining, on held-out text: the pretrained model first, then every chain,
        with its difference to the pretrained model and to the link before it. For a model with a head for masked words
        the loss of every token and its pseudo-perplexity; for an ELECTRA discriminator the AUC at detecting what a
        frozen generator replaced.""",
    ),
    "distillation": _item(
        "Distillation",
        " ".join(DISTILLATION),
        """Smaller models beside their teacher: where a student's layers are from and what it was taught, its score, the
        paired differences to the same student fine-tuned alone and to the teacher, its parameters, and the bytes of its
        files. Links that make a student smaller still stand below it.""",
    ),
    "prune_as_you_tune": _item(
        "Prune As You Tune",
        "prune_as_you_tune",
        """Pruning while a LoRA is tuned, beside the same model dense, pruned before a LoRA is tuned, fine-tuned whole,
        and pruned afterwards: zeros in the saved file, trained parameters, teacher, score, and the paired
        differences to the dense model and to pruning first.""",
    ),
    "methods": _item(
        "Methods",
        "finetuning",
        """What every method of the experiment is: kind, recipe, learning rates, epochs, rows, and the options that
        differ from their defaults. Other tables only name methods.""",
    ),
    "lora_grid": _item(
        "Rank and alpha",
        "grid",
        """Score over rank and alpha of a low-rank adapter. A cell without a finished run is empty. The best cell was
        chosen on the rows that it is scored on.""",
    ),
    "search": _item(
        "Searches",
        "search",
        """Searches over the options of a method: every trial, the best first, and the median trial, scored on a part of
        the training rows; and the best, run once more, on the validation rows. Importance is the share of the variance
        between trials (fANOVA).""",
    ),
    "latency": _item(
        "Latency",
        "latency",
        """How many times faster every variant (a chain, by a backend) answers than the fastest fp32 backend of PyTorch
        on the first chain, a column a workload (rows x tokens of each); the cell of that baseline has its milliseconds.
        Beside it the score of the chain, and its paired difference to the baseline's chain. What was not timed has its
        reason.""",
    ),
    "memory": _item(
        "Memory",
        "benchmark",
        """What every variant of a benchmark takes: the files of its weights, and the most memory of its process in
        every workload, in brackets above an empty process. MB are 1,000,000 bytes.""",
    ),
    "cold_start": _item(
        "Cold start",
        "cold_start",
        """From the start of a process to its first answer: libraries, weights and one text. Seconds of several starts,
        and the most memory until then.""",
    ),
    "padding": _item(
        "Padding",
        "task_lengths",
        """Rows of the task as they are, a second: all padded to one length, in the order of the file, rows of like
        length together, or one at a time; and the tokens that are computed then, with the share that is padding.""",
    ),
    "pareto": _item(
        "Pareto front",
        "benchmark",
        """Score against size, latency and memory of every model of a task: which are on the front (nothing that costs
        as little scores higher), which are not shown to be below it, and where the front bends.""",
    ),
    "protocols": _item(
        "One learning rate, or a budget of them",
        "two_protocols",
        """Methods trained with one learning rate from the config beside the same methods when each run picks the best
        of several on a part of its own training rows: scores, paired differences, ranks under both protocols, and what
        the choice costs.""",
    ),
}

FIGURES: dict[str, Item] = {
    "training_curves": _item(
        "Training curves",
        "pretraining",
        """Held-out evaluations during pretraining, a line per generator size: bold the mean over seeds, thin each
        seed, dashed grey the control without the extensions. Until the dotted line, replacements are unigram draws and
        the generator is not trained. AUC against the own generator need not rise all the time: the generator improves
        too, and sets a harder exam.""",
    ),
    "generator_size": _item(
        "Generator size",
        "pretraining",
        """Left: held-out MLM loss and RTD AUC against generator size. Right: validation accuracy after fine-tuning, all
        tasks on one scale, with the same network never pretrained (band: its interval), TF-IDF and the majority class
        as lines. Bars are 95 % intervals over seeds, with an arrow where one goes on past what its quantity can be (an
        AUC or an accuracy of 0 or 1, a loss of 0); dashes are seeds, hollow points are single seeds, grey crosses are
        the control without the extensions. Fine-tuning starts from one pretraining seed per size, so its bars leave
        out the scatter of pretraining.""",
    ),
    "downstream": _item(
        "Downstream tasks",
        "full",
        """Scores per task and model with 95 % intervals over seeds; published values as open marks, where the task is
        GLUE's. Grey: controls. Lines: TF-IDF with a linear model, the majority class.""",
    ),
    "adapters": _item(
        "Adapters",
        "adapter",
        """Score of every method, with the number of parameters that it trains, the head included, at the right. Bars
        are 95 % intervals over seeds; hollow points repeat the mistakes of a published study (`recipe: as_published`).
        Lines: full fine-tuning, TF-IDF with a linear model, the majority class.""",
    ),
    "quantization": _item(
        "Quantization",
        " ".join(STORED_SMALLER),
        """Score against the size of the files that are loaded: a line from every uncompressed model to each chain that
        goes on from it, a colour a chain. Bars are 95 % intervals over seeds; hollow points are single seeds. Lines:
        TF-IDF with a linear model, the majority class.""",
    ),
    "pruning": _item(
        "Pruning",
        " ".join(PRUNING),
        """Score of every chain that sets weights to zero or takes structures out: by when it does, then by the share
        of what it prunes, the best of a share first. At the right that share, or the parameters that are left. Bars are
        95 % intervals over seeds. Lines: the dense model, TF-IDF with a linear model, the majority class.""",
    ),
    "prune_rate": _item(
        "Prune rate",
        "prune_rates",
        """Score against the share of weights that a method sets to zero, a line a method, for methods with two shares
        or more. Bars are 95 % intervals over seeds; hollow points are published, of one seed, where the task is the
        same. Lines across: the dense model, TF-IDF with a linear model, the majority class.""",
    ),
    "prune_as_you_tune": _item(
        "Prune As You Tune",
        "prune_as_you_tune",
        """Score against the share of zeros among the weights of the encoder's dense layers, of pruning while a LoRA is
        tuned and of what stands beside it in the table. Bars are 95 % intervals over seeds; hollow points are single
        seeds. Lines across: the dense model, TF-IDF with a linear model, the majority class.""",
    ),
    "lora_grid": _item(
        "Rank and alpha",
        "grid",
        """Score over rank and alpha of a low-rank adapter, with the half-width of the 95 % interval over seeds. A white
        cell has no finished run. Every panel has a colour scale of its own.""",
    ),
    "search": _item(
        "Searches",
        "search",
        """Left: the score of every trial of a search and the best so far, on a part of the training rows; a diamond:
        the best, run once more, on the validation rows. Right: how much of the variance between trials each option
        explains by itself (fANOVA).""",
    ),
    "latency": _item(
        "Latency",
        "latency",
        """Milliseconds a row against rows at once, a line a chain by its fastest backend, a panel a length and number
        of threads. Bars are 95 % intervals of the median.""",
    ),
    "length": _item(
        "Latency by length",
        "latency",
        """Milliseconds a row against tokens of a row, for the smallest and the largest batch, a line a chain by its
        fastest backend. Bars are 95 % intervals of the median.""",
    ),
    "pareto": _item(
        "Pareto front",
        "benchmark",
        """Score against size, latency and memory of every model of a task. Coloured: the front, joined by a line, its
        knee in a ring. Hollow: not shown to be below the front. Crosses: below it. Bars are 95 % intervals over
        seeds.""",
    ),
    "confusion": _item(
        "Confusion matrices",
        "decoder",
        """Confusion matrices of decoders on the validation rows, a panel a task, model and method: true classes down,
        answers across. Of several seeds, the run with the median score (of an even number, the lower of the two in the
        middle). A number counts rows, a colour is their share of the true class.""",
    ),
}

# Files that `collect` writes beside `runs.csv`; each is made by `electralab.report.details.<name>`.
DETAILS: dict[str, str] = {
    "curves": "held-out evaluations during pretraining, a row an evaluation",
    "comparisons": "every two arms of a task (a model with a method): their difference, paired over seeds and rows",
    "searches": "the trials of searches",
    "benchmarks": "benchmarks, a row a variant and workload: seconds, how many times faster, memory",
    "quantization_layers": "every layer of quantized models: bits, bytes, rounding error, a row a layer and seed",
    "retention": "what models still know of pretraining, a row a measurement",
    "retention_differences": "the same: every chain minus the pretrained model, and minus the link before it",
    "confusions": "confusion matrices of classifications, a row a cell",
}
TABLE_FILES = ("csv", "md", "html")
FIGURE_FILES = ("svg", "png")


def chosen(catalogue: Mapping[str, Item], kinds: Collection[str]) -> list[str]:
    """The items that an experiment of these kinds has."""
    return [name for name, item in catalogue.items() if not item.needs.isdisjoint(kinds)]
