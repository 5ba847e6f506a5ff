"""Rows of a data set on the Hugging Face hub, streamed; `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are respected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    try:
        rows = load_dataset(repository, configuration, split=split, revision=revision, streaming=True)
        for number, row in enumerate(rows, start=1):
            if number == 1:
                check_columns(where, columns, list(row))
            yield number, row
    except UserError:
        raise
    except Exception as error:  # the hub client, httpx, fsspec and pyarrow each raise types of their own
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise UserError(
            f"{where} cannot be read ({type(error).__name__}: {reason}): check the name and the network, "
            "or use a `package` or `local` source"
        ) from error
