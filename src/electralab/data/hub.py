"""Rows of a data set on the Hugging Face hub, streamed; `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are respected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from electralab.errors import UserError


def stream_rows(
    repository: str, configuration: str | None, split: str, revision: str, columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Rows of one split at a pinned revision, without downloading it whole.

    Raises:
        UserError: the hub cannot be reached, or has no such data set, revision, split or column.
    """
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    where = f"hub data set {repository} ({configuration or 'default'}, {split}, revision {revision})"
    try:
        rows = load_dataset(repository, configuration, split=split, revision=revision, streaming=True)
        for number, row in enumerate(rows):
            if number == 0:
                missing = [column for column in columns if column not in row]
                if missing:
                    raise UserError(f"{where}: no column {missing[0]!r}; it has {', '.join(row)}")
            yield row
    except UserError:
        raise
    except Exception as error:  # the hub client, httpx, fsspec and pyarrow each raise types of their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{where} cannot be read ({type(error).__name__}: {reason}): check the name and the network, "
            "or use a `package` or `local` source"
        ) from error
