"""Data sets and models on the Hugging Face hub; `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are respected.

Every file is downloaded into the hub's cache by itself: an error loses a part of one file, and a rerun goes on there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from electralab.deploy.tabular import check_columns
from electralab.errors import UserError
from electralab.files import sha256

Kind = Literal["dataset", "model"]
ADVICE = "check the name, the revision and the network, or use a `package` or `local` source"


@dataclass(frozen=True)
class HubSplit:
    """A split of a data set at a pinned revision."""

    repository: str
    configuration: str | None
    split: str
    revision: str

    def files(self) -> list[HubFile]:
        """The files that it is made of, in their order; nothing of them is downloaded yet.

        Raises:
            UserError: the hub cannot be reached, or has no such data set, revision or split.
        """
        from datasets import load_dataset_builder
        from datasets.utils.logging import disable_progress_bar

        disable_progress_bar()
        try:
            builder = load_dataset_builder(self.repository, self.configuration, revision=self.revision)
            splits = {str(name): places for name, places in (builder.config.data_files or {}).items()}
        except Exception as error:  # the hub client, httpx, fsspec and pyarrow each raise types of their own
            raise UserError(f"{self} cannot be read: {type(error).__name__}: {first_line(error)}; {ADVICE}") from error
        if self.split not in splits:
            raise UserError(f"{self} cannot be read: it has no such split, but {', '.join(splits) or 'none'}; {ADVICE}")
        return [HubFile(self, str(place), builder) for place in splits[self.split]]

    def __str__(self) -> str:
        configuration = self.configuration or "default"
        return f"hub data set {self.repository} ({configuration}, {self.split}, revision {self.revision})"


@dataclass(frozen=True)
class HubFile:
    """One file of a split."""

    of: HubSplit
    place: str
    """`hf://datasets/<repository>@<commit>/<name>`."""
    builder: Any
    """What reads such files: `datasets` knows the format and its options."""

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return self.place.partition("@")[2].partition("/")[2] or self.place

    def fetch(self) -> FetchedFile:
        """The file, downloaded unless it is in the hub's cache.

        Raises:
            UserError: it cannot be downloaded, or what is in the cache is damaged.
        """
        path = Path(self.place)  # `datasets` reads a folder as it reads the hub
        prefix = f"hf://datasets/{self.of.repository}@"
        if self.place.startswith(prefix):
            commit = self.place.removeprefix(prefix).partition("/")[0]
            path = fetch_file("dataset", self.of.repository, self.name, commit)
        checksum, blob = sha256(path), path.resolve()
        if len(blob.name) == len(checksum) and blob.name != checksum:  # the cache names large files by their SHA-256
            raise UserError(f"{self.of}: {blob} is damaged: delete it and run the same command again")
        return FetchedFile(self, path, checksum)


@dataclass(frozen=True)
class FetchedFile:
    """A file of a split on this machine."""

    of: HubFile
    path: Path
    sha256: str

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Its rows, in constant memory.

        Raises:
            UserError: the file cannot be read, or a column is missing.
        """
        builder, split = self.of.builder, self.of.of
        builder.config.data_files = {split.split: [str(self.path)]}
        try:
            for number, row in enumerate(builder.as_streaming_dataset(split.split)):
                if number == 0:
                    check_columns(f"{split}, {self.of.name}", columns, list(row))
                yield row
        except UserError:
            raise
        except Exception as error:  # every format has errors of its own
            raise UserError(
                f"{split}: {self.path} cannot be read: {type(error).__name__}: {first_line(error)}"
            ) from error


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
