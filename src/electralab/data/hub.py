"""Data on the Hugging Face hub; `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are respected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from electralab.data.tabular import check_columns
from electralab.errors import UserError


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
    with _one_line(where):
        rows = load_dataset(repository, configuration, split=split, revision=revision, streaming=True)
        for number, row in enumerate(rows, start=1):
            if number == 1:
                check_columns(where, columns, list(row))
            yield number, row


def fetch_file(repository: str, file: str, revision: str) -> Path:
    """One file of a data set at a pinned revision, from the hub's cache if it is there.

    `datasets` would fall back to the newest cached revision when the hub cannot be reached; this never does. A file of
    a commit that is in the cache needs no network.

    Raises:
        UserError: the hub cannot be reached after some retries, has no such file, or sends only a part of it.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    with _one_line(f"hub data set {repository} ({file}, revision {revision})"):
        return Path(hf_hub_download(repository, file, repo_type="dataset", revision=revision))


@contextmanager
def _one_line(where: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the hub client, httpx, fsspec and pyarrow each raise types of their own
        told: BaseException = error
        if type(error).__name__ == "LocalEntryNotFoundError" and error.__cause__ is not None:
            told = error.__cause__  # it says that the file is not in the cache; its cause, why it was not fetched
        reason = next(iter(str(told).strip().splitlines()), "no reason given")
        raise UserError(
            f"{where} cannot be read ({type(told).__name__}: {reason}): check the name and the network, "
            "or use a `package` or `local` source"
        ) from error
