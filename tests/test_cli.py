"""The front door answers at once and names what it knows."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import rlcode
from rlcode.cli import COMMANDS, main


def run(*argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, cwd=cwd, timeout=120, check=False)


def test_help_needs_none_of_the_heavy_libraries():
    code = "import sys; from rlcode.cli import main; main(['--help']); print(sorted(sys.modules))"
    done = run("-c", code)
    assert done.returncode == 0
    for heavy in ("torch", "transformers", "docker", "numpy", "datasets"):
        assert f"'{heavy}'" not in done.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself_without_torch(command: str):
    code = f"""
import sys
from rlcode.cli import main
try:
    main([{command!r}, '--help'])
finally:
    assert 'torch' not in sys.modules and 'docker' not in sys.modules, 'heavy imports for a help text'
"""
    done = run("-c", code)
    assert "usage: " in done.stdout, done.stderr
    assert "heavy imports" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["--help", "run --help"])
def test_who_reads_a_part_of_what_is_printed_gets_no_trace(line: str, unbuffered: str):
    reader, writer = os.pipe()
    os.close(reader)
    command, environment = [sys.executable, "-m", "rlcode.cli", *line.split()], {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        command, env={**os.environ, **environment}, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_an_unknown_command_is_answered_with_the_known_ones(capsys):
    assert main(["evaluate"]) == 2
    assert "quickstart" in capsys.readouterr().err


def test_every_public_name_can_be_imported():
    for name in rlcode.__all__:
        assert getattr(rlcode, name) is not None


def test_a_file_of_the_user_that_hides_a_package_is_named(tmp_path: Path):
    (tmp_path / "rewards.py").write_text("")
    done = run("-c", "from rlcode import CorrectnessReward", cwd=tmp_path)
    assert "ShadowedPackageError" in done.stderr
    assert str(tmp_path / "rewards.py") in done.stderr
    assert str(Path(rlcode.__file__).parent.parent / "rewards") in done.stderr


def test_no_file_of_a_script_folder_hides_a_module():
    """A launched script's own folder comes first on `sys.path`."""
    root = Path(rlcode.__file__).parent.parent
    reserved = sys.stdlib_module_names | {
        "rlcode",
        "sampling",
        "rewards",
        "sandbox",
        "train",
        "eval",
        "configs",
        "tests",
    }
    reserved |= {
        "torch",
        "transformers",
        "trl",
        "peft",
        "vllm",
        "deepspeed",
        "datasets",
        "docker",
        "accelerate",
        "evaluate",
    }
    for room in ("train", "eval", "sampling", "rewards"):
        names = {path.stem for path in (root / room).iterdir() if path.suffix == ".py" or path.is_dir()}
        assert not names & reserved, f"{room}/ has {names & reserved}"


def test_modules_of_all_commands_exist():
    for module, _ in COMMANDS.values():
        assert callable(importlib.import_module(module).main)
