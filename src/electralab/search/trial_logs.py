"""Options and score of every trial of a search, where people who compare runs look for them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from electralab.errors import UserError

TrialLog = Literal["tensorboard", "wandb"]


def check_installed(log_to: Collection[TrialLog]) -> None:
    """Refuse a logger that is not there before the first trial.

    Raises:
        UserError: names it and says how to install it.
    """
    for name in log_to:
        if find_spec(name) is None:
            raise UserError(f"log_to asks for {name}, which is not installed: pip install {name}, or take it out")


def log_trial(
    log_to: Collection[TrialLog], folder: Path, study: str, number: int, options: dict[str, Any], score: float | None
) -> None:
    """Write one trial to `<folder>/tensorboard/<number>/` and `<folder>/wandb/`; writing it again changes nothing.

    Args:
        log_to: where to write.
        folder: of the search.
        study: names the search, the same over reruns.
        number: of the trial.
        options: as drawn.
        score: None for a trial that failed or was stopped.

    Raises:
        UserError: wandb was told to send the trial and cannot.
    """
    if "tensorboard" in log_to:
        _tensorboard(folder / "tensorboard" / str(number), number, options, score)
    if "wandb" in log_to:
        _wandb(folder, study, number, options, score)


def _tensorboard(directory: Path, number: int, options: dict[str, Any], score: float | None) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    shutil.rmtree(directory, ignore_errors=True)
    writer = EventFileWriter(str(directory))
    summaries = [hparams_pb(options, trial_id=str(number))]
    if score is not None:
        summaries.append(scalar_pb("score", score))
    for summary in summaries:
        writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
    writer.close()


def _wandb(folder: Path, study: str, number: int, options: dict[str, Any], score: float | None) -> None:
    # Nothing leaves the machine unless the user says so; `wandb sync` sends it later. Trials have ids of their own, so
    # that one that is sent twice is one run.
    os.environ.setdefault("WANDB_MODE", "offline")
    import wandb

    try:
        run = wandb.init(
            project="electralab",
            group=study,
            name=f"{study}-{number}",
            id=f"{study}-{number}",
            dir=folder,
            config=options,
            settings=wandb.Settings(silent=True),
        )
    except wandb.Error as error:
        line = str(error).partition("\n")[0]
        raise UserError(f"wandb: {line}: log in, or set WANDB_MODE=offline, and run the same command again") from None
    if score is not None:
        run.log({"score": score})
    run.finish()
