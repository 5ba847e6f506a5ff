"""Generated documentation is current, and links lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from electralab.config import json_schema
from electralab.documentation import (
    configuration_reference,
    results_reference,
    rule_graph,
    schema_text,
    with_rule_graph,
    write_docs,
)
from electralab.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "results").glob("*.md")])
REMEDY = "out of date: run make docs"
# Snakemake, Python, PyTorch, Transformers and Slurm.
SAID_BY_OTHERS = {
    "LockException: Directory cannot be locked",
    "FileNotFoundError",
    "KeyError: 'getpwuid(): uid not found'",
    "could not determine the home directory",
    "PartitionTimeLimit",
    "pipeline",
    "LABEL_0",
    "size of tensor a must match",
    "cannot execute: required file not found",
}


def test_configuration_reference_is_current() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == configuration_reference(), REMEDY


def test_list_of_results_is_current() -> None:
    assert (ROOT / "results" / "README.md").read_text(encoding="utf-8") == results_reference(), REMEDY


def test_schema_is_current() -> None:
    assert (ROOT / "workflow" / "schemas" / "config.schema.json").read_text(encoding="utf-8") == schema_text(), REMEDY


def test_rule_graph_in_the_readme_is_current() -> None:
    graph = rule_graph(ROOT)
    assert "build_corpus --> build_tokenizer" in graph
    assert graph in (ROOT / "README.md").read_text(encoding="utf-8"), REMEDY


def test_reference_has_every_key() -> None:
    reference = configuration_reference()
    definitions = [json_schema(), *json_schema()["$defs"].values()]
    keys = {key for definition in definitions for key in definition["properties"]}
    assert len(keys) > 60
    assert [key for key in keys if f"| `{key}` |" not in reference] == []


def test_schema_is_a_valid_schema() -> None:
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))


def test_graph_replaces_what_was_between_the_markers() -> None:
    page = "before\n<!-- rulegraph -->\nold\n<!-- /rulegraph -->\nafter\n"
    once = with_rule_graph(page, "new")
    assert once == "before\n<!-- rulegraph -->\nnew\n<!-- /rulegraph -->\nafter\n"
    assert with_rule_graph(once, "new") == once


@pytest.mark.parametrize("page", ["no markers", "<!-- rulegraph --> only one", "<!-- /rulegraph -->"])
def test_readme_without_markers_is_one_line(page: str) -> None:
    with pytest.raises(UserError, match="put both where the graph belongs"):
        with_rule_graph(page, "graph")


def test_workflow_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text("this is not a workflow\n")
    (tmp_path / "README.md").write_text("<!-- rulegraph -->\n<!-- /rulegraph -->\n")
    with pytest.raises(UserError, match="cannot draw the rule graph") as caught:
        write_docs(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "docs").exists()
    assert (tmp_path / "README.md").read_text() == "<!-- rulegraph -->\n<!-- /rulegraph -->\n"


def test_messages_that_the_troubleshooting_page_quotes_are_said() -> None:
    page = " ".join((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").split())
    source = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a message that is written in several pieces
    quoted = {message for bold in re.findall(r"\*\*(.+?)\*\*", page) for message in re.findall(r"`([^`]+)`", bold)}
    pieces = {
        piece.strip()
        for message in quoted - SAID_BY_OTHERS
        for piece in re.split(r"\b[A-Z]{3,}\b|\bN\b|\.\.\.", message)
    }
    assert len(pieces) >= 10
    assert [piece for piece in sorted(pieces) if piece not in source] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
