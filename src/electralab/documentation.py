"""What is generated from the code: configuration reference, its JSON schema, list of results, the README's rule graph.

`python -m electralab docs` writes them all; tests fail when one of them is out of date.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from electralab.catalogue import DETAILS, FIGURES, KINDS, TABLES
from electralab.config import RECIPES, Pretraining, json_schema
from electralab.errors import UserError
from electralab.files import write_text

GRAPH_BEGIN, GRAPH_END = "<!-- rulegraph -->", "<!-- /rulegraph -->"
TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
BOUNDS = {"minimum": "≥ ", "exclusiveMinimum": "> ", "maximum": "≤ ", "exclusiveMaximum": "< "}
TOP_LEVEL = {
    "corpora": "Pretraining text, by name.",
    "tokenizers": "Tokenizers, by name.",
    "tasks": "Labelled tasks, by name.",
    "pretraining": "ELECTRA pretrainings, by name; each is a sweep over generator sizes and seeds.",
    "models": "Models that are not pretrained here, by name.",
    "methods": "Ways to use a model on a task, by name.",
    "grids": "Methods with every combination of some of their options, by name.",
    "benchmarks": "Models that are timed side by side, by name.",
    "searches": "Searches over the options of a method, by name.",
    "retention": "Measurements of what a model still knows of its pretraining, by name.",
    "run": "Which of the named things above this experiment runs.",
}
INTRODUCTION = """\
# Configuration

<!-- Generated from src/electralab/config/ by `make docs`: edit that, not this. -->

`config.yaml` is a complete experiment. An overlay holds only what differs and is merged into it, key by key; lists are
replaced whole:

```sh
snakemake --cores 8 all --configfile mine.yaml
python -m electralab validate --config config.yaml mine.yaml   # only check it
```

Everything is named once in its section, and `run` says by name what to run. Names are up to 100 lower-case letters,
digits and underscores. A name is also a folder below `artifacts/`, so give a changed thing a new name: what is already
there under the old one would be rebuilt.

An overlay that changes what runs needs a `name` of its own, so that it does not write into the results of the default
experiment. The command line takes the same keys:
`snakemake --cores 8 all --config name=mine 'pretraining={tiny: {steps: 5000}}'`.

An unknown key, a wrong type, an impossible value, a name that does not exist, a chain whose links do not fit or local
data that is not there stops with one line before anything runs. A number is a number in any notation: `10000`, `1e4`,
`"10_000"`. The complete experiment, defaults filled in, is written to `results/<name>/config.resolved.yaml`.

A run is a chain of methods: `methods: [full]` is the chain of one link, and

```yaml
run:
  finetuning:
    - { models: [minilm], tasks: [movie_sentiment], methods: [full], chains: [[full, half], [lora, merge, half]] }
```

runs `full`, `full+half`, `lora`, `lora+merge` and `lora+merge+half`, each once, each from what the one before it left.
"""

RESULTS_INTRODUCTION = """\
# Results

<!-- Generated from src/electralab/catalogue.py by `make docs`: edit that, not this. -->

Everything here is made from run records and may be deleted: `snakemake --cores 8 all` makes it again. `<name>` is the
`name` of the experiment; the commands below are for `quick`, the default one. A table is written three times: `.md` to
read here, `.html` for a browser and the report, `.csv` with all digits. A figure is `.svg` and `.png`. One page with
all of them: `snakemake --cores 1 --report report.html`.

## `results/<name>/`"""


def write_docs(root: Path) -> None:
    """Write `docs/configuration.md`, `workflow/schemas/config.schema.json`, `results/README.md` and the rule graph in
    `README.md`.

    Raises:
        UserError: the README has no place for the graph, or Snakemake cannot draw it.
    """
    readme = root / "README.md"
    front_page = with_rule_graph(readme.read_text(encoding="utf-8"), rule_graph(root))
    write_text(readme, front_page)
    write_text(root / "docs" / "configuration.md", configuration_reference())
    write_text(root / "workflow" / "schemas" / "config.schema.json", schema_text())
    write_text(root / "results" / "README.md", results_reference())


def schema_text() -> str:
    """The JSON schema of the config, for editors."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


# --- the configuration reference ------------------------------------------------------------------------------


def configuration_reference() -> str:
    """Every key of the config: type, default, limits and meaning, in Markdown."""
    schema = json_schema()
    definitions = schema.pop("$defs")
    parts = [INTRODUCTION, "## Top level\n", _table(schema, required=set(schema["required"]))]
    for key, field in schema["properties"].items():
        if key != "name":
            parts += _sections(key, field, definitions, level=2)
        if key == "pretraining":
            parts.append(_recipes())
    return "\n".join(parts)


def _sections(path: str, field: dict[str, Any], definitions: dict[str, Any], level: int) -> Iterator[str]:
    """Headings, descriptions and tables of everything that a field holds, depth first."""
    where, references = _held(path, field)
    tags = field.get("discriminator") or _element(field).get("discriminator")
    for name in references:
        definition = definitions[name]
        title = f"`{where}`"
        if tags:
            values = [value for value, target in tags["mapping"].items() if target.endswith(f"/{name}")]
            title += " with " + " or ".join(f"`{tags['propertyName']}: {value}`" for value in values)
        yield f"{'#' * level} {title}\n"
        yield f"{_one_line(definition['description'])}\n"
        yield _table(definition, set(definition.get("required", [])), tags["propertyName"] if tags else None)
        for key, child in definition["properties"].items():
            yield from _sections(f"{where}.{key}", child, definitions, level + 1)


def _element(field: dict[str, Any]) -> dict[str, Any]:
    """What a list or a mapping of names holds; the field itself otherwise."""
    if "patternProperties" in field:
        return dict(next(iter(field["patternProperties"].values())))
    return dict(field.get("items", field))


def _held(path: str, field: dict[str, Any]) -> tuple[str, list[str]]:
    """Where the objects inside a field are written, and the names of their definitions."""
    where = path + (".<name>" if "patternProperties" in field else "[]" if "items" in field else "")
    element = _element(field)
    options = element.get("oneOf", element.get("anyOf", [element]))
    return where, [option["$ref"].rpartition("/")[2] for option in options if "$ref" in option]


def _table(definition: dict[str, Any], required: set[str], tag: str | None = None) -> str:
    """One row per key; `tag` is the key whose value chooses between the forms that an object can take."""
    rows = ["| key | type | default | limits | meaning |", "|---|---|---|---|---|"]
    for key, field in definition["properties"].items():
        meaning = TOP_LEVEL.get(key) if definition["title"] == "Experiment" else None
        cells = [
            f"`{key}`",
            _type(field),
            "required" if key in required or key == tag else _default(field),
            "; ".join(_limits(field)),
            meaning or field.get("description") or ("Says which form this is." if key == tag else ""),
        ]
        rows.append("| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join("null" if option == {"type": "null"} else _type(option) for option in field["anyOf"])
    if "patternProperties" in field:
        return "mapping of names"
    if "prefixItems" in field:
        return f"list of {len(field['prefixItems'])} {TYPES[field['prefixItems'][0]['type']]}s"
    if field.get("type") == "array":
        held = _element(field)
        return "list" if "$ref" in held or "oneOf" in held else f"list of {_type(held)}"
    return TYPES.get(str(field.get("type")), "mapping")


def _default(field: dict[str, Any]) -> str:
    value = field.get("const", field.get("default"))
    if isinstance(value, dict):
        return "see below"
    return f"`{json.dumps(value)}`" if value is not None else "null"


def _limits(field: dict[str, Any]) -> list[str]:
    """Limits in words, those of list items included."""
    for inner in (*field.get("anyOf", []), *field.get("prefixItems", [])[:1]):
        if inner != {"type": "null"}:
            return _limits(inner)
    found = [f"{sign}{_number(field[bound])}" for bound, sign in BOUNDS.items() if bound in field]
    if "enum" in field:
        found.append(", ".join(f"`{value}`" for value in field["enum"]))
    if "const" in field:
        found.append(f"`{field['const']}`")
    if field.get("pattern"):
        found.append("a name")
    if "minItems" in field:
        found.append(f"at least {field['minItems']}")
    return found + [f"each: {limit}" for limit in _limits(field["items"])] if "items" in field else found


def _recipes() -> str:
    """What `pretraining.<name>.recipe` sets."""
    keys = list(dict.fromkeys(key for options in RECIPES.values() for key in options))
    lines = [
        "### Recipes\n",
        "What `recipe` sets for keys that are not given. Sources and reasons: [methods.md](methods.md).\n",
        "| key | " + " | ".join(f"`{recipe}`" for recipe in RECIPES) + " |",
        "|---|" + "---|" * len(RECIPES),
    ]
    for key in keys:
        default = Pretraining.model_fields[key].default
        values = (options.get(key, default) for options in RECIPES.values())
        lines.append(f"| `{key}` | " + " | ".join(f"`{json.dumps(value)}`" for value in values) + " |")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,g}" if abs(value) < 1e5 else f"{value:,.0f}"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


# --- the results ----------------------------------------------------------------------------------------------


def results_reference() -> str:
    """Every table and figure, what it shows, which experiments have it, and the command that makes it."""
    parts = [RESULTS_INTRODUCTION, "| file | what it holds |\n|---|---|"]
    parts[-1] += "\n| `runs.csv` | a row a run: what it was told, metrics, cost, provenance |"
    parts[-1] += "".join(f"\n| `{name}.csv` | {text} |" for name, text in DETAILS.items())
    for heading, folder, kind, catalogue in (
        ("Tables", "tables", "md", TABLES),
        ("Figures", "figures", "svg", FIGURES),
    ):
        parts.append(f"## {heading}")
        for name, item in catalogue.items():
            needs = " or ".join(KINDS[need] for need in sorted(item.needs))
            parts += [f"### `{folder}/{name}`", item.caption]
            parts.append(f"Of experiments with {needs}. `snakemake results/quick/{folder}/{name}.{kind} --cores 8`")
    return "\n\n".join(parts) + "\n"


# --- the rule graph -------------------------------------------------------------------------------------------


def rule_graph(root: Path) -> str:
    """The workflow's rules and what each waits for, as a Mermaid flow chart with sorted lines.

    Raises:
        UserError: Snakemake cannot read the workflow.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str((root / "Snakefile").resolve())]
    with tempfile.TemporaryDirectory() as elsewhere:
        command += ["--directory", elsewhere, "--rulegraph", "mermaid-js"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"snakemake cannot draw the rule graph: {_one_line(done.stderr[-400:])}")
    names = dict(re.findall(r"^\s*(id\d+)\[(.+)\]$", done.stdout, re.MULTILINE))
    edges = re.findall(r"^\s*(id\d+) --> (id\d+)$", done.stdout, re.MULTILINE)
    lines = sorted(f"    {names[before]} --> {names[after]}" for before, after in edges)
    return "\n".join(["```mermaid", "flowchart TB", *lines, "```"])


def with_rule_graph(readme: str, graph: str) -> str:
    """The README with the graph between its two markers.

    Raises:
        UserError: a marker is missing.
    """
    before, begin, rest = readme.partition(GRAPH_BEGIN)
    _, end, after = rest.partition(GRAPH_END)
    if not (begin and end):
        raise UserError(f"README.md lacks the line {GRAPH_BEGIN} or {GRAPH_END}: put both where the graph belongs")
    return f"{before}{begin}\n{graph}\n{end}{after}"
