"""The lock is complete, and every place that names versions names the same ones."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def pins(name: str) -> dict[str, str]:
    """Package to version of a requirements file."""
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith(("#", "-")))


def asked_for(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for with some extras, which may ask for others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    wanted = [Requirement(line) for line in lines]
    for own in [requirement for requirement in wanted if requirement.name == project["name"]]:
        wanted += asked_for(*sorted(own.extras))
    return [requirement for requirement in wanted if requirement.name != project["name"]]


def direct_pins() -> dict[str, str]:
    """The pins of requirements.txt that pyproject.toml asks for."""
    names = {canonicalize_name(requirement.name) for requirement in asked_for("pipeline")}
    return {name: version for name, version in pins("requirements.txt").items() if name in names}


def test_every_dependency_is_pinned() -> None:
    for wanted in asked_for("pipeline"):
        assert wanted.specifier.contains(pins("requirements.txt")[canonicalize_name(wanted.name)]), wanted


def test_what_is_deployed_asks_for_no_training() -> None:
    assert {requirement.name for requirement in asked_for("deploy")} == {"numpy", "onnxruntime", "tokenizers"}
    assert "torch" in {requirement.name for requirement in asked_for("train")}


@pytest.mark.parametrize("files", [["requirements.txt"], ["requirements.txt", "requirements-dev.txt"]], ids=len)
def test_lock_is_closed_and_is_what_is_installed(files: list[str]) -> None:
    locked = {name: version for file in files for name, version in pins(file).items()}
    unmet = set()
    for name, version in locked.items():
        distribution = metadata.distribution(name)
        assert distribution.version.split("+")[0] == version, name
        for line in distribution.requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                pinned = locked.get(canonicalize_name(wanted.name))
                if pinned is None or not wanted.specifier.contains(pinned, prereleases=True):
                    unmet.add(f"{name} needs {wanted}, the lock has {pinned}")
    assert unmet == set()


def test_lock_works_on_any_machine() -> None:
    for file in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / file).read_text()
        assert "://" not in text
        assert not re.search(r"^--?(index|extra|find)", text, re.MULTILINE)
        assert not [version for version in pins(file).values() if "+" in version]


def test_conda_environment_has_the_direct_pins() -> None:
    environment = yaml.safe_load((ROOT / "envs" / "electralab.yaml").read_text())
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert dict(line.split("==") for line in pip) == direct_pins()


def test_every_compute_rule_names_an_environment_that_exists() -> None:
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        text = path.read_text()
        named = re.findall(r"conda:\s+\"(.+)\"", text)
        assert len(named) == text.count("shell:") > 0
        assert all((path.parent / name).exists() for name in named)
