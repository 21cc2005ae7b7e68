"""The sandbox image: what goes in, which bases serve, and that a stale one is noticed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator

import docker
import pytest

from rlcode.errors import InputError, SandboxUnavailableError
from sandbox import image as images
from sandbox.main import main

TAG = f"rlcode-sandbox-test:{os.getpid()}"
OTHER_BASE = f"rlcode-base-test:{os.getpid()}"


@pytest.fixture(autouse=True)
def _no_image_stays(engine: docker.DockerClient) -> Iterator[None]:
    yield
    for tag in (TAG, OTHER_BASE):
        if engine.images.list(name=tag):
            engine.images.remove(tag, force=True)


@pytest.fixture
def base(engine: docker.DockerClient, base_image: str) -> Callable[[str], str]:
    """Makes a base image from further lines of a Dockerfile."""

    def make(lines: str) -> str:
        recipe = io.BytesIO(f"FROM {base_image}\n{lines}\n".encode())
        engine.images.build(fileobj=recipe, tag=OTHER_BASE, rm=True, network_mode="none")
        return OTHER_BASE

    return make


def inside(engine: docker.DockerClient, image: str, code: str) -> str:
    output: bytes = engine.containers.run(image, ["python3", "-c", code], network_mode="none", remove=True)
    return output.decode().strip()


def test_the_image_holds_the_guest_and_is_found_by_name(engine: docker.DockerClient, base_image: str) -> None:
    built = images.build(engine, base_image, TAG)
    assert built.startswith("sha256:")
    assert images.find(engine, TAG) == built
    files = inside(engine, TAG, "import os; print(*os.listdir('/opt/rlcode/guest'))").split()
    assert {path.name for path in images.GUEST.glob("*.py")} <= set(files)
    assert "__pycache__" in files


def test_the_same_sources_give_the_same_image(engine: docker.DockerClient, base_image: str) -> None:
    assert images.build(engine, base_image, TAG) == images.build(engine, base_image, TAG)


def test_the_default_name_changes_with_the_guest() -> None:
    files = images.sources(images.GUEST)
    assert f"rlcode-sandbox:{images.hash_of(files)[:12]}" == images.DEFAULT_IMAGE
    changed = {**files, "judge.py": files["judge.py"] + b"\n"}
    renamed = {("other.py" if name == "judge.py" else name): data for name, data in files.items()}
    assert len({images.hash_of(files), images.hash_of(changed), images.hash_of(renamed)}) == 3


def test_an_image_of_another_version_is_refused_with_the_command_to_run(
    engine: docker.DockerClient, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.build(engine, base_image, TAG)
    monkeypatch.setattr(images, "GUEST_HASH", "0" * 64)
    with pytest.raises(SandboxUnavailableError, match=f"rlcode sandbox build --tag {TAG}"):
        images.find(engine, TAG)


def test_a_missing_image_names_the_command_to_run(engine: docker.DockerClient) -> None:
    with pytest.raises(SandboxUnavailableError, match="rlcode sandbox build --tag rlcode-nothing:1"):
        images.find(engine, "rlcode-nothing:1")


def test_a_missing_base_is_the_users_to_change(engine: docker.DockerClient) -> None:
    with pytest.raises(InputError, match="--base IMAGE"):
        images.build(engine, "rlcode-no-such-base:1", TAG)


def test_a_base_without_python_is_refused(engine: docker.DockerClient) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("hello"), io.BytesIO())
    repository, _, tag = OTHER_BASE.partition(":")
    engine.api.import_image_from_data(archive.getvalue(), repository=repository, tag=tag)
    with pytest.raises(InputError, match="python3"):
        images.build(engine, OTHER_BASE, TAG)


def test_a_base_whose_python_is_too_old_is_refused(
    engine: docker.DockerClient, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "OLDEST_PYTHON", (99, 0))
    with pytest.raises(InputError, match="python3 is older"):
        images.build(engine, base_image, TAG)


def test_a_base_with_a_volume_is_refused_and_leaves_no_image(
    engine: docker.DockerClient, base: Callable[[str], str]
) -> None:
    with pytest.raises(InputError, match="declares the volumes /data"):
        images.build(engine, base("VOLUME /data"), TAG)
    assert not engine.images.list(name=TAG)


def test_an_open_work_folder_of_the_base_is_closed(engine: docker.DockerClient, base: Callable[[str], str]) -> None:
    opened = base("RUN [\"python3\", \"-c\", \"import os; os.mkdir('/w'); os.chmod('/w', 0o1777); open('/w/x', 'w')\"]")
    images.build(engine, opened, TAG)
    assert inside(engine, TAG, "import os; print(oct(os.stat('/w').st_mode), os.listdir('/w'))") == "0o40711 []"


def test_user_and_entrypoint_of_the_base_do_not_stay(engine: docker.DockerClient, base: Callable[[str], str]) -> None:
    images.build(engine, base('USER 1000\nENTRYPOINT ["/bin/false"]'), TAG)
    assert inside(engine, TAG, "import os; print(os.getuid())") == "0"


def test_packages_are_installed_only_on_request() -> None:
    assert "pip" not in images.dockerfile("base")
    assert '"pip", "install", "--no-cache-dir", "numpy", "sympy==1.13"' in images.dockerfile(
        "base", ["numpy", "sympy==1.13"]
    )


def test_the_command_builds_and_prints_name_and_id(
    engine: docker.DockerClient, base_image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "--base", base_image, "--tag", TAG]) == 0
    assert capsys.readouterr().out.split() == [TAG, images.find(engine, TAG)]


def test_help_and_the_pool_do_without_the_sdk() -> None:
    code = """
import sys
from sandbox.main import main
try:
    main(["build", "--help"])
finally:
    print("docker" in sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert shown.stdout.endswith("False\n")
    assert "--base" in shown.stdout
