"""An export goes to the hub whole; where that fails, it stays where it is. The hub is one that listens here."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rlcode.cli import main


@dataclass
class Hub:
    """What was sent to a hub; it takes every file with the commit itself."""

    url: str
    made: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    refuses: bool = False


class Handler(BaseHTTPRequestHandler):
    """The calls of `create_repo` and `upload_folder`."""

    hub: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.hub.refuses:
            self._answer(403, {"error": "you may not write here"})
        elif self.path == "/api/repos/create":
            self.hub.made.append(json.loads(body))
            self._answer(200, {"url": f"{self.hub.url}/me/coder", "id": "1"})
        elif self.path.endswith("/preupload/main"):
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})
        elif "/commit/main" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            for line in lines:
                if line["key"] == "file":
                    self.hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._answer(
                200, {"commitUrl": f"{self.hub.url}/me/coder/commit/0", "commitOid": "0", "pullRequestUrl": None}
            )
        else:
            self._answer(200, {})

    def do_GET(self) -> None:
        self._answer(200, {"id": "me/coder", "sha": "0", "siblings": []})

    def _answer(self, code: int, value: dict[str, Any]) -> None:
        text = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use(monkeypatch, Handler.hub.url)
    yield Handler.hub
    server.shutdown()
    server.server_close()


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What `HF_ENDPOINT` and `HF_TOKEN` stand for, which are read when the library is imported."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", url)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")


def arguments(adapter: Path, output: Path, repository: str = "me/coder") -> list[str]:
    words = ["export", "--adapter", str(adapter), "--output", str(output), "--adapter_only"]
    return [*words, "--prove_engines", "transformers", "--push_to_hub", repository]


def test_all_that_was_exported_is_uploaded(tmp_path: Path, random_adapter: Path, hub: Hub, capsys):
    assert main([*arguments(random_adapter, tmp_path / "out"), "--private"]) == 0
    assert hub.files == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert {"README.md", "adapter_model.safetensors", "export_proof.json"} <= hub.files.keys()
    (made,) = hub.made
    assert (made["name"], made["organization"]) == ("coder", "me")
    assert "uploaded: " in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["refused", "nobody there"])
def test_a_failed_upload_is_told_and_the_export_stays(
    tmp_path: Path, random_adapter: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys, fault: str
):
    hub.refuses = fault == "refused"
    if fault == "nobody there":
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        use(monkeypatch, f"http://127.0.0.1:{port}")
    assert main(arguments(random_adapter, tmp_path / "out")) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / 'out'} is whole, but could not be uploaded to me/coder" in said
    assert f"hf upload me/coder {tmp_path / 'out'}" in said
    assert (tmp_path / "out" / "export_proof.json").is_file()


def test_a_name_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, random_adapter: Path, capsys):
    assert main(arguments(random_adapter, tmp_path / "out", "a/b/c")) == 2
    assert "--push_to_hub a/b/c" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
