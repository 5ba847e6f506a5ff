"""What every part of the config is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from electralab.config.notation import meant
from electralab.errors import did_you_mean

T = TypeVar("T")


def _different(items: list[Any]) -> list[Any]:
    twice = next((item for place, item in enumerate(items) if item in items[:place]), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is there twice: leave one out")
    return items


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]  # it becomes a part of file names
Fraction = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # as NumPy wants them
Positive = Annotated[float, Field(gt=0)]
Distinct = Annotated[list[T], AfterValidator(_different), Field(json_schema_extra={"uniqueItems": True})]

FILLED_IN = "SHA-256 of the files. The plan fills it in, to notice a change; given here, other files are refused."

# Keys that decide which form an object takes, and with it the defaults of the others.
TAGS = ("kind", "source")
DECIDING = (*TAGS, "recipe")


class Strict(BaseModel):
    """Strict about names and kinds, lenient about notation; values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True, allow_inf_nan=False)

    @classmethod
    def recipe_defaults(cls, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG003
        """Defaults of keys that are not given, where what is given decides them."""
        return {}

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        unknown = next((key for key in values if key not in fields), None)
        if unknown is not None:
            hint = did_you_mean(str(unknown), fields)
            raise PydanticCustomError("unknown_key", "unknown key '{key}'{hint}", {"key": unknown, "hint": hint})
        read = {key: meant(fields[key].annotation, value) for key, value in values.items()}
        return {**cls.recipe_defaults(read), **read}

    def without_defaults(self) -> dict[str, Any]:
        """The fewest keys from which validation makes an equal object, as JSON values; `kind` and `source` stay.

        A new option changes nothing here while it has its default.
        """
        fields = type(self).model_fields
        values = {key: getattr(self, key) for key in fields}
        defaults = {key: field.get_default(call_default_factory=True) for key, field in fields.items()}
        kept = {key for key, field in fields.items() if field.is_required() or key in TAGS}
        kept |= {key for key in DECIDING if key in fields and values[key] != defaults[key]}
        while True:
            given = {key: values[key] for key in fields if key in kept}
            made = {**defaults, **self.recipe_defaults(given), **given}
            missing = next((key for key in fields if made[key] != values[key]), None)
            if missing is None:
                return {key: _plain(value) for key, value in given.items()}
            kept.add(missing)  # one at a time, because a key that is given may change the defaults of others

    def canonical(self) -> str:
        """The object as one JSON string with sorted keys: what a Snakemake rule passes to its job."""
        return json.dumps(self.without_defaults(), sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Strict):
        return value.without_defaults()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
