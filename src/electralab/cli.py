"""The command line: one verb per stage. It parses, calls and prints; nothing else."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from electralab import __version__
from electralab.errors import UserError
from electralab.files import only_writer
from electralab.names import NO_MODEL

DOWNLOADS = Path("artifacts/downloads")
PUBLISHED = Path("reference/published_results.csv")
DEVICES = "auto, cpu, gpu (and nothing else), cuda or cuda:N"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; its exit status, 0 if it has none. A mistake of the user's is one line on stderr and status 1."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.verb(options) or 0)
    except UserError as error:
        if options.debug:
            raise
        print(f"electralab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("electralab: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except OSError as error:
        if options.debug:
            raise
        print(f"electralab: {error.filename or 'input/output'}: {error.strerror or error}", file=sys.stderr)
        return 1


def _spec(kind: Any, text: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--spec: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _validate(options: argparse.Namespace) -> None:
    from electralab.config import load_to_run, read_values
    from electralab.plan import Plan

    experiment = load_to_run(read_values(options.config), options.config[0])
    print(f"{experiment.name}: valid; {len(Plan(experiment).records)} runs")


def _resolve(options: argparse.Namespace) -> None:
    import yaml

    from electralab.config import Experiment
    from electralab.files import write_text

    complete = _spec(Experiment, options.experiment).model_dump(mode="json")
    write_text(options.out, yaml.safe_dump(complete, sort_keys=True, allow_unicode=True))


def _status(options: argparse.Namespace) -> int:
    from electralab.console.status import print_status

    return print_status(options.configfile)


def _docs(options: argparse.Namespace) -> None:
    from electralab.documentation import write_docs

    write_docs(options.root)


def _corpus(options: argparse.Namespace) -> None:
    from electralab.config import Corpus
    from electralab.data.corpora import build_corpus

    build_corpus(options.name, _spec(Corpus, options.spec), options.out, options.downloads)


def _task(options: argparse.Namespace) -> None:
    from electralab.config import Task
    from electralab.data.tasks import build_task

    task, corpus = _spec(Task, options.spec), options.inputs[0] if options.inputs else None
    with only_writer(options.out.parent):
        build_task(options.name, task, options.out, options.downloads, corpus)


def _model(options: argparse.Namespace) -> None:
    from electralab.config import DownloadedModel
    from electralab.data.models import fetch_model

    model = _spec(DownloadedModel, options.spec)
    with only_writer(options.out.parent):
        fetch_model(options.name, model, options.out, options.downloads)


def _tokenizer(options: argparse.Namespace) -> None:
    from electralab.config import Tokenizer
    from electralab.tokens.tokenizer import build_tokenizer

    tokenizer, source = _spec(Tokenizer, options.spec), options.inputs[0] if options.inputs else None
    with only_writer(options.out.parent):
        build_tokenizer(tokenizer, options.out, options.downloads, source)


def _tokens(options: argparse.Namespace) -> None:
    from electralab.tokens.cache import build_cache

    with only_writer(options.out.parent):
        build_cache(options.corpus, options.tokenizer, options.out, options.workers)


def _pretrain(options: argparse.Namespace) -> None:
    _limit_threads(options.threads)
    from electralab.machine import select_device
    from electralab.pretrain.inputs import Inputs
    from electralab.pretrain.trainer import run_pretraining
    from electralab.progress import print_result
    from electralab.specs import PretrainSpec

    spec = _spec(PretrainSpec, options.spec).watched(options.watching)
    inputs = Inputs(options.tokens, options.tokenizer, options.start, options.start_generator)
    record = run_pretraining(spec, inputs, options.out, options.threads, select_device(options.device))
    metrics = record.metrics
    if record.status != "ok":
        print_result(f"{record.model} seed {record.seed}: {record.status.upper()}: {record.reason}")
        return
    print_result(
        f"{record.model} seed {record.seed}: MLM loss {metrics['mlm_loss']:.3f}"
        f" (unigram {metrics['unigram_cross_entropy']:.3f}), RTD AUC {metrics['rtd_auc']:.3f},"
        f" {record.cost.wall_seconds:.0f} s"
    )


def _run(options: argparse.Namespace) -> None:
    _limit_threads(options.threads)
    from electralab.machine import select_device
    from electralab.methods.run import Inputs, run_job
    from electralab.progress import print_result
    from electralab.specs import RunSpec

    spec = _spec(RunSpec, options.spec)
    spread = spec.settings.kind == "in_context"
    device = "cpu" if spec.model == NO_MODEL else select_device(options.device, spread=spread)
    inputs = Inputs(options.task, options.start, options.tokenizer, options.teacher, options.corpus)
    with only_writer(options.out.parent):
        record = run_job(spec, options.out, inputs, options.threads, device)
    if record.status == "ok":
        came_to = f"{record.primary_metric} {record.metrics['score']:.3f}, {record.cost.wall_seconds:.0f} s"
    else:
        came_to = f"{record.status.upper()}: {record.reason}"
    print_result(f"{spec.title}: {came_to}")


def _retention(options: argparse.Namespace) -> None:
    _limit_threads(options.threads)
    from electralab.machine import select_device
    from electralab.progress import print_result
    from electralab.retention.measure import Inputs, run_retention
    from electralab.specs import RetentionSpec

    spec = _spec(RetentionSpec, options.spec)
    inputs = Inputs(options.corpus, options.pretrained, options.start, options.generator)
    with only_writer(options.out.parent):
        record = run_retention(spec, options.out, inputs, options.threads, select_device(options.device))
    came_to = f"{record.status.upper()}: {record.reason}"
    if record.primary_metric is not None:
        came_to = f"{record.primary_metric} {record.metrics[record.primary_metric]:.3f}"
    print_result(f"{spec.title}: {came_to}")


def _predict(options: argparse.Namespace) -> None:
    _limit_threads(options.threads)
    from electralab.deploy.answers import Output
    from electralab.deploy.package import is_graph, manifest_in
    from electralab.deploy.texts import Source

    out, manifest = options.out, manifest_in(options.model)
    form: Literal["tsv", "jsonl"] = options.format or ("jsonl" if out is not None and out.suffix == ".jsonl" else "tsv")
    source = Source(options.texts, options.pair, options.file, options.columns)
    output = Output(out, form, options.rows_at_once)
    if is_graph(manifest):
        from electralab.deploy import predict as without_torch

        without_torch.predict_texts(manifest, source, output, options.threads)
        return
    import torch

    from electralab.machine import select_device
    from electralab.methods.predict import predict_texts

    torch.set_num_threads(options.threads)
    predict_texts(manifest, source, output, select_device(options.device))


def _export(options: argparse.Namespace) -> None:
    _limit_threads(options.threads)
    from electralab.deploy.package import manifest_in
    from electralab.export.export import export_run

    parity = export_run(manifest_in(options.run), options.to, options.out, options.threads)
    print(f"{options.out}: exported; {parity}")


def _search(options: argparse.Namespace) -> None:
    _limit_threads(options.threads)
    from electralab.files import sha256
    from electralab.machine import select_device
    from electralab.methods.run import Inputs, run_job
    from electralab.records import RunRecord
    from electralab.search.study import Report, SearchSpec, run_search
    from electralab.specs import RunSpec

    spec, device = _spec(SearchSpec, options.spec), select_device(options.device)
    inputs = Inputs(options.task, options.start, options.tokenizer, options.teacher, options.corpus)

    def run_trial(trial: RunSpec, record: Path, report: Report | None) -> RunRecord:
        return run_job(trial, record, inputs, options.threads, device, report)

    checksums = {name: sha256(path) for name, path in inputs._asdict().items() if path is not None}
    logs = spec.settings.log_to
    run_search(spec, options.out, run_trial, inputs=checksums, log_to=logs, threads=options.threads, device=device)


def _benchmark(options: argparse.Namespace) -> None:
    from electralab.benchmark.answers import in_a_line, in_lines
    from electralab.benchmark.folders import of_folders
    from electralab.benchmark.measuring import Subject
    from electralab.benchmark.run import run_benchmark
    from electralab.config import Benchmark
    from electralab.machine import select_device
    from electralab.names import chain_name
    from electralab.progress import print_result

    if options.model:
        settings, subject = of_folders(
            options.model, options.backends, options.threads, options.batch_sizes, options.lengths
        )
    elif options.spec is None or options.task is None:
        raise UserError("benchmark: name folders with --model, or what Snakemake names: --spec, --artifacts and --task")
    else:
        from electralab.data.tasks import read_task

        settings = _spec(Benchmark, options.spec)
        artifacts = dict(zip(map(chain_name, settings.chains), options.artifacts, strict=True))
        subject = Subject(artifacts, read_task(options.task))
    with only_writer(options.out.parent):
        record = run_benchmark(options.name, settings, subject, select_device(options.device), options.out)
    if options.model:
        print("\n".join(in_lines(record)))
    print_result(in_a_line(record))


def _best(options: argparse.Namespace) -> None:
    from electralab.report.best import choose, limits, lines
    from electralab.report.results import Results

    asked = limits(options.under, options.under_memory)
    results = Results(options.results, PUBLISHED)
    print("\n".join(lines(results, choose(results, options.task, asked))))


def _collect(options: argparse.Namespace) -> None:
    from electralab.report.collect import collect
    from electralab.report.sources import read_sources

    sources = read_sources(options.records, options.searches, options.tasks, options.retentions, options.benchmarks)
    collect(sources, options.results)


def _submission(options: argparse.Namespace) -> None:
    from electralab.report.submission import write_submission

    missing = write_submission(options.records, options.out)
    if missing:
        print(f"{options.out}: incomplete, and the server takes only complete submissions: no {', '.join(missing)}")


def _table(options: argparse.Namespace) -> None:
    from electralab.report.make import make_table
    from electralab.report.results import Results

    make_table(options.name, Results(options.results, options.published), options.results / "tables" / options.name)


def _figure(options: argparse.Namespace) -> None:
    from electralab.report.make import make_figure
    from electralab.report.results import Results

    make_figure(options.name, Results(options.results, options.published), options.results / "figures" / options.name)


def _limit_threads(threads: int) -> None:
    """Set before numpy and torch are imported: two pools on two cores slow each other down fivefold."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, str(threads))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="electralab", description="The stages of the ElectraLab pipeline; Snakemake calls them."
    )
    parser.add_argument("--version", action="version", version=f"electralab {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="verb")

    def verb(name: str, call: Callable[[argparse.Namespace], int | None], about: str) -> Callable[..., None]:
        sub = verbs.add_parser(name, help=about, description=about)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        sub.set_defaults(verb=call)

        def add(flag: str, kind: Any = Path, **more: Any) -> None:
            if flag.startswith("--") and "default" not in more and "nargs" not in more:
                more["required"] = True
            sub.add_argument(flag, type=kind, **more)

        return add

    add = verb("validate", _validate, "check a config and its overlays")
    add("--config", nargs="+", default=[Path("config.yaml")], help="config file, then overlays")

    add = verb("status", _status, "tell which runs are done, running, failed and left; status 1 while one has failed")
    add("--configfile", nargs="+", default=[], help="overlays, as given to snakemake")

    add = verb("resolve", _resolve, "write the complete config beside the results")
    add("--experiment", str, help="canonical JSON of the experiment")
    add("--out")

    add = verb("docs", _docs, "write the generated documentation and the config schema")
    add("--root", default=Path())

    add = verb("corpus", _corpus, "build a corpus from its sources")
    add("name", str)
    add("--spec", str, help="canonical JSON of the corpus")
    add("--downloads", default=DOWNLOADS)
    add("--out")

    add = verb("task", _task, "build a labelled task")
    add("name", str)
    add("--spec", str, help="canonical JSON of the task")
    add("--inputs", nargs="*", help="corpus manifest, for probes built from held-out text")
    add("--downloads", default=DOWNLOADS)
    add("--out")

    add = verb("model", _model, "fetch a pretrained model")
    add("name", str)
    add("--spec", str, help="canonical JSON of the model")
    add("--downloads", default=DOWNLOADS)
    add("--out")

    add = verb("tokenizer", _tokenizer, "train or fetch a tokenizer")
    add("--spec", str, help="canonical JSON of the tokenizer")
    add("--inputs", nargs="*", help="corpus manifest of a tokenizer that is trained, tokenizer.json of a model's")
    add("--downloads", default=DOWNLOADS)
    add("--out")

    add = verb("tokens", _tokens, "write a corpus as a token cache")
    add("--corpus")
    add("--tokenizer")
    add("--workers", int, default=1)
    add("--out")

    add = verb("pretrain", _pretrain, "pretrain a generator and a discriminator")
    add("--spec", str, help="canonical JSON of the run")
    add("--watching", str, default="{}", help="JSON of settings that decide no weight, in place of the spec's")
    add("--tokens")
    add("--tokenizer")
    add("--start", default=None, help="vouches for weights to go on from: a record, or a manifest")
    add("--start-generator", default=None, help="manifest of the generator of a downloaded discriminator")
    add("--threads", int, default=1)
    add("--device", str, default="auto", help=DEVICES)
    add("--out")

    for name, call, about in (
        ("run", _run, "run one method of a chain on a task"),
        ("search", _search, "search the options of a method"),
    ):
        add = verb(name, call, about)
        add("--spec", str, help=f"canonical JSON of the {name}")
        add("--task")
        add(
            "--start",
            default=None,
            help="vouches for the weights: a record, or a manifest",
        )
        add("--tokenizer", default=None, help="tokenizer.json of the model; an artifact has its own")
        add("--teacher", default=None, help="manifest of what a teacher left")
        add("--corpus", default=None, help="manifest of text that is mixed into the training rows")
        add("--threads", int, default=1)
        add("--device", str, default="auto", help=DEVICES)
        add("--out")

    add = verb("retention", _retention, "measure what a run, or a pretrained model, still knows of pretraining")
    add("--spec", str, help="canonical JSON of the measurement")
    add("--corpus", help="manifest of the corpus whose held-out documents are read")
    add("--pretrained", default=None, help="vouches for the pretrained model: a record, or a manifest")
    add("--start", default=None, help="manifest of what the run left")
    add("--generator", default=None, help="vouches for another generator: a record, or a manifest")
    add("--threads", int, default=1)
    add("--device", str, default="auto", help=DEVICES)
    add("--out")

    add = verb("predict", _predict, "answer new texts with what a run left")
    add("model", help="folder `model` of a run, or its manifest")
    add("texts", str, nargs="*", help="texts; without any, and without --file, lines of standard input")
    add("--pair", str, nargs="*", default=[], help="second texts, of a task about pairs")
    add("--file", default=None, help="lines (with a pair behind a tab), or a .csv, .tsv, .jsonl or .parquet table")
    add("--columns", str, nargs="*", default=[], help="columns of the table (default: text, and pair if it has one)")
    add("--format", str, default=None, choices=("tsv", "jsonl"), help="default: by the end of --out, else tsv")
    add("--rows-at-once", int, default=1024, help="texts that are read before they are answered (1: as they come)")
    add("--threads", int, default=1)
    add("--device", str, default="auto", help="auto, cpu, cuda or cuda:N; an exported graph is run on the CPU")
    add("--out", default=None, help="default: standard output")

    add = verb("export", _export, "write a run as a folder that answers without PyTorch")
    add("run", help="folder of a run, its folder `model`, or its manifest")
    add("--to", str, choices=("onnx", "openvino"), help="what will run it")
    add("--threads", int, default=1)
    add("--out", help="the folder, which must not be there yet")

    add = verb("benchmark", _benchmark, "time what runs left, side by side")
    add("name", str, nargs="?", default="benchmark")
    add("--model", nargs="*", default=[], help="folders of runs; the first is what others are held to")
    add("--backends", str, nargs="*", default=[], help="for every folder (default: those that suit its form)")
    add("--batch-sizes", int, nargs="+", default=[1, 8, 32])
    add("--lengths", int, nargs="+", default=[32, 128], help="tokens of a row")
    add("--threads", int, default=1)
    add("--spec", str, default=None, help="in place of --model: canonical JSON of the benchmark")
    add("--artifacts", nargs="*", default=[], help="manifests of what runs left, in the order of the spec's chains")
    add("--task", default=None, help="whose rows are read and whose answers are checked")
    add("--device", str, default="auto", help=DEVICES)
    add("--out", help="the record")

    add = verb("best", _best, "name the best model of an experiment under limits, with its numbers and its path")
    add("--task", str, help="whose score counts")
    add("--under", str, action="append", default=[], help="25MB: files of weights; 5ms: latency. May be given twice")
    add("--under-memory", str, default=None, help="120MB: of the process, in the same workload as the latency")
    add("--results", default=Path("results/quick"), help="folder of the results (default: %(default)s)")

    add = verb("collect", _collect, "flatten run records and compare their predictions")
    add("records", nargs="*")
    add("--searches", nargs="*", default=[], help="results of searches")
    add("--benchmarks", nargs="*", default=[], help="records of benchmarks")
    add("--tasks", nargs="*", default=[], help="manifests of the tasks, which name their classes")
    add("--retentions", nargs="*", default=[], help="records of measurements of retention")
    add("--results", help="folder of the results, with the name of the experiment")

    add = verb("submission", _submission, "pack test predictions for the GLUE server")
    add("records", nargs="*")
    add("--out")

    for name, call, about in (("table", _table, "write one table"), ("figure", _figure, "draw one figure")):
        add = verb(name, call, about)
        add("name", str)
        add("--results", help="folder that `collect` wrote; the files go below it")
        add("--published", default=PUBLISHED, help="published results")
    return parser
