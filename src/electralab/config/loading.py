"""From YAML files to an experiment, or to one line that says what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from electralab.config.experiment import Experiment
from electralab.errors import UserError


def load_experiment(values: dict[str, Any]) -> Experiment:
    """Validate a merged config.

    Raises:
        UserError: one line that names the key, the value and what is allowed.
    """
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise UserError("; ".join(_sentences(error.errors(), values)[:3])) from None


def read_experiment(paths: list[Path]) -> Experiment:
    """Read a config file and its overlays and validate the result."""
    return load_experiment(read_values(paths))


def read_values(paths: list[Path]) -> dict[str, Any]:
    """A config file and its overlays, deep-merged, as Snakemake does.

    Raises:
        UserError: a file cannot be read, or is no mapping.
    """
    import yaml

    merged: dict[str, Any] = {}
    for path in paths:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = re.sub(r"\s+", " ", str(error))
            raise UserError(f"cannot read {path}: {reason}") from error
        if not isinstance(values, dict):
            raise UserError(f"{path} is not a mapping of keys to values; see docs/configuration.md")
        merged = deep_merge(merged, values)
    return merged


def deep_merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """An overlay on a config: mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged


def _sentences(errors: Sequence[Any], values: dict[str, Any]) -> list[str]:
    """One sentence for each error; of one about a value and one about a part of it, the latter."""
    keys = [_key(error["loc"], values) for error in errors]
    return [
        _sentence(error, key)
        for error, key in zip(errors, keys)
        if not any(other.startswith((f"{key}.", f"{key}[")) for other in keys if key)
    ]


def _key(location: tuple[int | str, ...], values: Any) -> str:
    """The key as it stands in the file, without what pydantic puts between: which member of a union it tried."""
    key = ""
    last, tagged = len(location) - 1, False
    for index, part in enumerate(location):
        tags = (values.get("kind"), values.get("source")) if isinstance(values, dict) else ()
        if part in tags and not tagged:
            tagged = True
        elif isinstance(values, list) and isinstance(part, int):
            key += f"[{part}]"
            values, tagged = values[part] if part < len(values) else None, False
        elif isinstance(values, dict) and (part in values or (index == last and "[" not in str(part))):
            key += f".{part}"
            values, tagged = values.get(part), False  # None: it is missing
    return key.removeprefix(".")


def _sentence(error: Any, key: str) -> str:
    """One pydantic error as one sentence with the full key."""
    value = error.get("input")
    if error["type"] == "unknown_key":
        unknown, hint = f"{key}.{error['ctx']['key']}".removeprefix("."), error["ctx"]["hint"]
        return f"config: unknown key {unknown!r}{hint}; allowed keys are listed in docs/configuration.md"
    if error["type"] == "missing":
        return f"config: the key {key!r} is required"
    message = str(error["msg"]).removeprefix("Value error, ")
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool) else ""
    if error["type"] == "string_type" and isinstance(value, bool):
        shown = f" (YAML reads yes, no, on and off as true and false: quote it, got {value!r})"
    return f"config: {key + ': ' if key else ''}{message}{shown}"


def json_schema() -> dict[str, Any]:
    """The JSON schema of `config.yaml` (written to `workflow/schemas/config.schema.json`)."""
    return Experiment.model_json_schema()
