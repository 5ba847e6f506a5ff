"""Every table and figure of the catalogue can be made, and every module is in the catalogue."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from electralab.catalogue import DETAILS, FIGURES, KINDS, TABLES, chosen

REPORT = Path(__file__).resolve().parents[2] / "src" / "electralab" / "report"


def defined(folder: str, function: str) -> set[str]:
    """Modules of a folder that define a function."""
    return {path.stem for path in (REPORT / folder).glob("*.py") if f"\ndef {function}(" in path.read_text()}


@pytest.mark.parametrize(
    ("folder", "function", "names"),
    [("tables", "table", TABLES), ("figures", "figure", FIGURES), ("details", "rows", DETAILS)],
)
def test_modules_are_those_of_the_catalogue(folder: str, function: str, names: dict[str, object]) -> None:
    assert defined(folder, function) == set(names)
    for name in names:
        assert callable(getattr(import_module(f"electralab.report.{folder}.{name}"), function))


def test_items_need_something_that_an_experiment_can_have() -> None:
    for item in (*TABLES.values(), *FIGURES.values()):
        assert item.needs and item.needs <= set(KINDS)
        assert item.caption.endswith(".") and "\n" not in item.caption
    assert {need for item in (*TABLES.values(), *FIGURES.values()) for need in item.needs} == set(KINDS)


def test_one_of_the_needs_is_enough() -> None:
    assert chosen(TABLES, {"search"}) == ["search"]
    assert chosen(TABLES, ()) == []
    assert chosen(TABLES, KINDS) == list(TABLES)
