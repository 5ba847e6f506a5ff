"""What a value written as text can only mean: `"1e4"` is a number where a number is wanted.

YAML 1.1 reads `1e4` as text, and Snakemake hands over everything inside `--config 'key={...}'` as text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
LONGEST = 400  # digits of a whole number; no float is larger
WORDS: dict[str, tuple[type, Any]] = {"true": (bool, True), "false": (bool, False), "null": (NoneType, None)}


def meant(annotation: Any, value: Any) -> Any:
    """The value with texts read as the numbers, truth values and nulls that a field of this type wants.

    A whole number is an `int` wherever one is allowed, so that equal numbers are equal JSON. What fits no type is left
    as it is, for the type to refuse.
    """
    members = list(_members(annotation))
    if isinstance(value, list):
        element = next((get_args(member)[0] for member in members if get_origin(member) in (list, tuple)), Any)
        return [meant(element, item) for item in value]
    if isinstance(value, dict):
        element = next((get_args(member)[1] for member in members if get_origin(member) is dict), Any)
        return {key: meant(element, item) for key, item in value.items()}
    if isinstance(value, str):
        return _read(members, value)
    if isinstance(value, float) and int in members and value.is_integer():
        return int(value)
    return value


def _members(annotation: Any) -> Iterator[Any]:
    """The types that a field may have: those of a union, without what is annotated."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _read(members: list[Any], text: str) -> Any:
    kind, word = WORDS.get(text.lower(), (None, None))
    if kind in members:
        return word
    plain = re.sub(r"(?<=\d)_(?=\d)", "", text)  # YAML allows 1_000
    if not NUMBER.fullmatch(plain):
        return text
    exact = Decimal(plain)
    if int in members and exact.adjusted() < LONGEST and exact == exact.to_integral_value():
        return int(exact)
    number = float(plain)
    return number if float in members and math.isfinite(number) else text
