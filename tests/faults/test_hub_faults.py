"""A hub that cannot be reached, or lacks what is asked for: one line that names the thing and the remedy."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from electralab.config import Corpus, HubText
from electralab.data.hub import HubSplit
from electralab.errors import UserError


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    """`HF_HUB_OFFLINE` is set for the tests, as a user without a network would."""
    part = HubText(repository="nobody/nothing", revision="main")
    with pytest.raises(
        UserError, match=r"hub data set nobody/nothing .*cannot be read: .*check the name, the revision and the network"
    ) as error:
        HubSplit(part.repository, None, part.split, part.revision).files()
    assert "\n" not in str(error.value)


def read_split(folder: Path, split: str, column: str) -> list[dict[str, object]]:
    files = HubSplit(str(folder), None, split, "main").files()
    return [row for file in files for row in file.fetch().rows([column])]


def test_a_hub_data_set_without_the_column_or_the_split_is_one_line(tmp_path: Path) -> None:
    """`datasets` reads a folder as it reads the hub."""
    (tmp_path / "train.jsonl").write_text('{"body": "a"}\n')
    with pytest.raises(UserError, match=r"no column 'text'; it has body"):
        read_split(tmp_path, "train", "text")
    with pytest.raises(UserError, match=r"\(default, nosuch, revision main\) cannot be read") as error:
        read_split(tmp_path, "nosuch", "body")
    assert "\n" not in str(error.value)


class _NotThere(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the name that http.server calls
        self.send_response(404)
        self.send_header("X-Error-Code", self.server.error_code)  # type: ignore[attr-defined]
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("error_code", ["RepoNotFound", "RevisionNotFound"])
def test_a_data_set_or_revision_that_the_hub_does_not_have_is_one_line(tmp_path: Path, error_code: str) -> None:
    server = HTTPServer(("127.0.0.1", 0), _NotThere)
    server.error_code = error_code  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    spec = Corpus(parts=[HubText(repository="nobody/nothing", revision="v9")]).canonical()
    command = [sys.executable, "-m", "electralab", "corpus", "c", "--spec", spec, "--out", "out/manifest.json"]
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hub"),
    }
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, env=environment)
    server.shutdown()
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("electralab: hub data set nobody/nothing (default, train, revision v9) cannot be read")
    assert "Traceback" not in done.stderr
