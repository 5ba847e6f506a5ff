"""A search over the options of a method: trials drawn by Optuna, each a run of its own from a fresh model.

Trials read training rows alone: they train on a part of them and are scored on the rest, the tuning rows. The winner is
then run once as any other method is, so that its score on the validation rows chose nothing.

Everything lives beside the result (`search.json`): Optuna's journal, `trials/<number>/run.json`, `winner/run.json`. A
trial's run record is what commits it: once it is there, the trial is told to the study and never run again.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.trial import TrialState
from pydantic import ValidationError, model_validator

from electralab.config import Search, Strict
from electralab.errors import UserError
from electralab.files import locked, write_json
from electralab.names import EPOCH_SCORE, chain_name
from electralab.progress import print_result
from electralab.records import Meter, RunRecord, read_record, write_record
from electralab.search.importances import importances
from electralab.search.journal import claim_trial, opened_study, set_aside, tell_lost, trial_folder, wait_for
from electralab.search.trial_logs import TrialLog, check_installed, log_trial
from electralab.specs import RunSpec

# What becomes of a run record's status.
STATES = {"ok": TrialState.COMPLETE, "failed": TrialState.FAIL, "skipped": TrialState.PRUNED}
STATUS = {TrialState.COMPLETE: "ok", TrialState.FAIL: "failed", TrialState.PRUNED: "pruned"}


class SearchSpec(Strict):
    """One search: its settings, and the run that every trial varies."""

    name: str
    settings: Search
    base: RunSpec

    @model_validator(mode="after")
    def _options_exist(self) -> SearchSpec:
        # A recipe sets defaults where a key is not given, and here every key is.
        known = set(type(self.base.settings).model_fields) - {"recipe"}
        for option in self.settings.space:
            if option not in known:
                raise ValueError(
                    f"searches.{self.name}.space: method {self.base.method} has no option {option!r} that can be "
                    f"searched; allowed: {', '.join(sorted(known))}"
                )
        return self


class TrialPruned(Exception):  # noqa: N818 - it is no error
    """Leaves a run that is not worth finishing. What runs a trial lets it pass through."""


class Report(Protocol):
    """Called after every epoch but the last, counted from 1, with the score so far; higher is better."""

    def __call__(self, epoch: int, score: float, /) -> None:
        """Note the score.

        Raises:
            TrialPruned: no score so far reaches the median of the other trials after as many epochs.
        """


class RunTrial(Protocol):
    """Runs a trial, or the winner, from a freshly initialised model; the spec says on which rows it is scored."""

    def __call__(self, spec: RunSpec, record_path: Path, report: Report | None, /) -> RunRecord:
        """Write the run record last, with `spec` and `metrics["score"]` in it, and return it.

        `report` is None without median pruning.
        """


def run_search(
    spec: SearchSpec,
    out: Path,
    run_trial: RunTrial,
    *,
    inputs: Mapping[str, str],
    log_to: Collection[TrialLog] = (),
    threads: int = 1,
    device: str = "cpu",
) -> None:
    """Run trials until all have ended, those of other workers in the same folder included, then the winner.

    Every trial starts from a freshly initialised model, unlike those of the published TinyBERT sweep, which went on
    training one another's model. A combination that the method refuses, and a run that ends in a `UserError`, is a
    failed trial with its reason; a missing file or a full disk ends the search, which can be run again.

    Args:
        spec: the search.
        out: `search.json`; the journal and the trials go beside it.
        run_trial: runs one trial, or the winner.
        inputs: checksums of what trials read. With other inputs or settings the search starts anew; more trials or
            more time add to what is there.
        log_to: where every trial's options and score are also written, beside `out`.
        threads: CPU threads of a trial, for the records of trials that do not end well.
        device: where trials run, for the same.

    Raises:
        UserError: the journal is damaged, another process searches here with other settings, a logger is not
            installed, or no trial ended well.
    """
    check_installed(log_to)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder, settings = out.parent, spec.settings
    deadline = time.monotonic() + 60 * (settings.timeout_minutes or math.inf)
    with opened_study(folder, _study_name(spec, inputs)) as study:
        tell_lost(study, folder)
        while True:
            trial, lock, busy = claim_trial(study, folder, settings.trials, time.monotonic() < deadline)
            if trial is not None and lock is not None:
                with lock:
                    meter = Meter(device, threads, dict(inputs))
                    record = _record_of(trial, spec, folder, run_trial, meter)
                    _tell(study, trial, record, spec, folder, log_to)
            elif busy is not None:
                wait_for(busy)
            else:
                break
        result = _result(study, spec, folder)
        meter = Meter(device, threads, dict(inputs))
        result["winner"] = _winner(spec, result["best"]["options"], folder, run_trial, meter)
        write_json(out, result)
    print_result(f"{spec.name}: {_summary(result)}")


def _study_name(spec: SearchSpec, inputs: Mapping[str, str]) -> str:
    """The name of the search, and a fingerprint of all that its scores depend on."""
    described = spec.without_defaults() | {"base": _trial_base(spec).without_defaults(), "inputs": dict(inputs)}
    for unrelated in ("trials", "timeout_minutes", "log_to"):
        described["settings"].pop(unrelated, None)
    return f"{spec.name}-{hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]}"


def _trial_base(spec: SearchSpec) -> RunSpec:
    """What trials vary."""
    return spec.base.model_copy(update={"seed": spec.settings.seed, "scored_on": "tuning"})


# --- a trial ----------------------------------------------------------------------------------------------------


def _draw(trial: optuna.Trial, settings: Search) -> dict[str, Any]:
    """The options of a trial; those that it has are kept.

    Every option of every trial has a random stream of its own, so that random search is a function of the seed
    alone: it draws the same whichever worker runs a trial, and after however many restarts.
    """
    options: dict[str, Any] = {}
    for name, values in settings.space.items():
        trial.study.sampler = _sampler(settings, f"{settings.seed}/{trial.number}/{name}")
        if isinstance(values, list):
            options[name] = trial.suggest_categorical(name, values)
        elif values.integer:
            options[name] = trial.suggest_int(name, math.ceil(values.low), math.floor(values.high), log=values.log)
        else:
            options[name] = trial.suggest_float(name, values.low, values.high, log=values.log)
    return options


def _sampler(settings: Search, stream: str) -> optuna.samplers.BaseSampler:
    seed = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4])
    if settings.sampler == "random":
        return optuna.samplers.RandomSampler(seed)
    return optuna.samplers.TPESampler(seed=seed)


def _record_of(trial: optuna.Trial, spec: SearchSpec, folder: Path, run_trial: RunTrial, meter: Meter) -> RunRecord:
    """The record of a trial: the one that it left before its worker died, or that of running it now."""
    path = trial_folder(folder, trial.number) / "run.json"
    report = _Reporting(trial)
    pruned = report if spec.settings.median_pruning else None
    record = _run(_trial_base(spec), _draw(trial, spec.settings), path, run_trial, meter, pruned)
    for name, score in record.metrics.items():
        if name.startswith(EPOCH_SCORE):  # of a record that was there, the study may not have heard of them
            report.note(int(name.removeprefix(EPOCH_SCORE)), score)
    return record


def _run(
    base: RunSpec,
    options: dict[str, Any],
    path: Path,
    run_trial: RunTrial,
    meter: Meter,
    report: _Reporting | None = None,
) -> RunRecord:
    """The record of a run with these options: the one that is there, or that of running it now."""
    if "learning_rates" in options:  # the list that a run chooses from; here the search chooses
        options = options | {"learning_rates": [options["learning_rates"]]}
    run, metrics = base, dict[str, float]()
    try:
        run = _varied(base, options)
        left = _left_record(path, run.model_dump(mode="json"))
        if left is not None:
            return left
        set_aside(path)
        record = run_trial(run, path, report)
        if record.status != "skipped":
            return record
        status, reason = "failed", str(record.reason)  # skipped trials are those that are pruned
    except TrialPruned as stopped:
        status, reason = "skipped", str(stopped)
        metrics = {} if report is None else {f"{EPOCH_SCORE}{epoch}": score for epoch, score in report.scores.items()}
    except UserError as error:
        if isinstance(error.__cause__, OSError):  # a missing file or a full disk is not the options' fault
            raise
        status, reason = "failed", str(error)
    asked = run.model_dump(mode="json")
    asked["settings"] |= options
    record = _record_without_score(asked, status, reason, meter).model_copy(update={"metrics": metrics})
    if _left_record(path, asked) is None:
        set_aside(path)
    write_record(path, record)
    return record


def _varied(run: RunSpec, options: dict[str, Any]) -> RunSpec:
    """The run with these options.

    Raises:
        UserError: the method refuses them.
    """
    try:
        method = type(run.settings).model_validate({**run.settings.model_dump(), **options})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(": ".join([".".join(map(str, first["loc"])), first["msg"]]).lstrip(": ")) from None
    return run.model_copy(update={"settings": method})


def _left_record(path: Path, asked: dict[str, Any]) -> RunRecord | None:
    """The record of the very run that is asked for, if it is there."""
    try:
        record = read_record(path)
    except UserError:
        return None
    return record if record.spec == asked else None


class _Reporting:
    """A `Report` that tells the study; an epoch that it knows, from an earlier worker, is not reported again."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial
        self.scores = dict(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def __call__(self, epoch: int, score: float, /) -> None:
        self.note(epoch, score)
        if self.trial.should_prune():
            raise TrialPruned(f"stopped after epoch {epoch} with {score:.4g}: below the median of the other trials")

    def note(self, epoch: int, score: float) -> None:
        if epoch not in self.scores:
            self.scores[epoch] = score
            self.trial.report(score, epoch)


def _record_without_score(asked: dict[str, Any], status: Any, reason: str, meter: Meter) -> RunRecord:
    return RunRecord(
        stage="run",
        model=asked["model"],
        task=asked["task"],
        method=chain_name(asked["chain"]),
        seed=asked["seed"],
        status=status,
        reason=reason,
        recipe=asked["settings"].get("recipe", asked["settings"]["kind"]),
        extensions=asked["extensions"],
        cost=meter.cost(),
        provenance=meter.provenance(),
        spec=asked,
    )


def _tell(
    study: optuna.Study,
    trial: optuna.Trial,
    record: RunRecord,
    spec: SearchSpec,
    folder: Path,
    log_to: Collection[TrialLog],
) -> None:
    """Write a trial down everywhere, in the journal last."""
    state, score, reason = STATES[record.status], None, record.reason
    if state is TrialState.COMPLETE:
        score = record.metrics.get("score", math.nan)
        if not math.isfinite(score):
            state, score, reason = TrialState.FAIL, None, f"the score is {score}"
    options = trial.params
    log_trial(log_to, folder, study.study_name, trial.number, options, score)
    trial.set_user_attr("seconds", record.cost.wall_seconds)
    trial.set_user_attr("reason", reason)
    study.tell(trial, score, state=state)
    outcome = f"score {score:.4f}" if score is not None else f"{STATUS[state]}: {reason}"
    print(
        f"{spec.name}: trial {trial.number + 1} of {spec.settings.trials}: {_shown(options)}: {outcome}",
        file=sys.stderr,
    )


def _shown(options: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in options.items()
    )


# --- the result -------------------------------------------------------------------------------------------------


def _winner(
    spec: SearchSpec, options: dict[str, Any], folder: Path, run_trial: RunTrial, meter: Meter
) -> dict[str, Any]:
    """The best trial's options run once more, on all training rows and scored on the validation rows."""
    path = folder / "winner" / "run.json"
    with locked(path.with_name(".worker")):  # one worker runs it, the others take its record
        record = _run(spec.base.model_copy(update={"seed": spec.settings.seed}), options, path, run_trial, meter)
    finished = record.status == "ok"
    return {
        "status": record.status,
        "reason": record.reason,
        "metric": record.primary_metric,
        "score": record.metrics["score"] if finished else None,
        "rows": record.metrics.get("validation_rows"),
        "overlap_rows": record.metrics.get("overlap_rows"),
    }


def _summary(result: dict[str, Any]) -> str:
    best, winner = result["best"], result["winner"]
    validated = winner["reason"] if winner["score"] is None else f"{winner['score']:.4f} on the validation rows"
    drawn = f"best of {len(result['trials'])} trials {best['score']:.4f} on tuning rows ({_shown(best['options'])})"
    return f"{drawn}; run once more: {validated}"


def _result(study: optuna.Study, spec: SearchSpec, folder: Path) -> dict[str, Any]:
    """What `search.json` holds: a function of the trials alone, whichever worker writes it.

    Raises:
        UserError: no trial ended well.
    """
    trials = [
        {
            "trial": trial.number,
            "status": STATUS[trial.state],
            "score": _last_score(trial),
            "seconds": trial.user_attrs["seconds"],
            "seed": spec.settings.seed,
            "options": {name: trial.params[name] for name in spec.settings.space},
            "reason": trial.user_attrs["reason"],
        }
        for trial in study.get_trials(deepcopy=False, states=tuple(STATUS))
        if trial.number < spec.settings.trials
    ]
    scored = [trial for trial in trials if trial["status"] == "ok"]
    if not scored:
        first = trials[0]["reason"] if trials else "the time was over before one had ended: raise timeout_minutes"
        raise UserError(
            f"search {spec.name}: none of {len(trials)} trials gave a score ({first}): mend it, delete "
            f"{folder} and run the same command again"
        )
    counts = Counter(trial["status"] for trial in trials)
    return {
        "schema_version": 2,
        "name": spec.name,
        "settings": spec.settings.model_dump(mode="json"),
        "base": spec.base.model_dump(mode="json"),
        "best": max(scored, key=lambda trial: trial["score"]),  # of equals, the first
        "importances": importances(spec.settings.space, scored),
        "counts": {status: counts[status] for status in STATUS.values()},
        "trials": trials,
    }


def _last_score(trial: optuna.trial.FrozenTrial) -> float | None:
    """The score of a trial that ended well, the last one of a trial that was stopped early, none of a failed one."""
    if trial.state is TrialState.PRUNED and trial.intermediate_values:
        return trial.intermediate_values[max(trial.intermediate_values)]
    return trial.value if trial.state is TrialState.COMPLETE else None
