"""Data sets and models on the Hugging Face hub; `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are respected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from electralab.data.tabular import check_columns
from electralab.errors import UserError

Kind = Literal["dataset", "model"]
ADVICE = "check the name, the revision and the network, or use a `package` or `local` source"


def stream_rows(
    repository: str, configuration: str | None, split: str, revision: str, columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, row) of one split at a pinned revision, without downloading it whole.

    Raises:
        UserError: the hub cannot be reached, or has no such data set, revision, split or column.
    """
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    where = f"hub data set {repository} ({configuration or 'default'}, {split}, revision {revision})"
    try:
        rows = load_dataset(repository, configuration, split=split, revision=revision, streaming=True)
        for number, row in enumerate(rows, start=1):
            if number == 1:
                check_columns(where, columns, list(row))
            yield number, row
    except UserError:
        raise
    except Exception as error:  # the hub client, httpx, fsspec and pyarrow each raise types of their own
        raise UserError(f"{where} cannot be read: {type(error).__name__}: {first_line(error)}; {ADVICE}") from error


def fetch_file(kind: Kind, repository: str, file: str, revision: str) -> Path:
    """One file at a pinned revision, from the hub's cache if it is there.

    `datasets` would fall back to the newest cached revision when the hub cannot be reached; this never does. A file of
    a commit that is in the cache needs no network.

    Raises:
        UserError: the hub cannot be reached after some retries, has no such file, or sends only a part of it.
    """
    path = find_file(kind, repository, file, revision)
    if path is None:
        raise UserError(f"{_where(kind, repository, file, revision)} cannot be read: it has no such file; {ADVICE}")
    return path


def find_file(kind: Kind, repository: str, file: str, revision: str) -> Path | None:
    """`fetch_file`, but None if the repository has no such file.

    Not `snapshot_download`: without a network it may give whatever part of a repository is in the cache.
    """
    from huggingface_hub import errors, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    told: BaseException
    try:
        return Path(hf_hub_download(repository, file, repo_type=kind, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        known = try_to_load_from_cache(repository, file, repo_type=kind, revision=revision)
        if known is not None and not isinstance(known, str):  # the cache remembers that there is none
            return None
        told = error.__cause__ or error  # the error says that it is not in the cache; its cause, why
        reason = f"it is not sent, and {file} is not in the cache ({type(told).__name__}: {first_line(told)})"
    except errors.EntryNotFoundError:
        return None
    except errors.GatedRepoError as error:
        told, reason = error, "its owner must grant access; then log in with `hf auth login`"
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        told, reason = error, "there is no such repository, or it is private"
    except errors.RevisionNotFoundError as error:
        told, reason = error, "it has no such revision"
    except Exception as error:  # the hub client and its HTTP library raise many types of their own
        told, reason = error, f"{type(error).__name__}: {first_line(error)}"
    raise UserError(f"{_where(kind, repository, file, revision)} cannot be read: {reason}; {ADVICE}") from told


def first_line(error: BaseException) -> str:
    """What an error says, without the pages that some libraries add."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _where(kind: Kind, repository: str, file: str, revision: str) -> str:
    return f"hub {'data set' if kind == 'dataset' else kind} {repository} ({file}, revision {revision})"
