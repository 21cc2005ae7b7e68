"""The image that the containers run: any base with Python, plus packages for the programs, plus the guest.

The name of the image carries a hash of the guest, so that a host never talks to the guest of another version:
after an update the image is missing under its new name, and the message says which command makes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rlcode.errors import InputError, SandboxError, SandboxUnavailableError
from sandbox import packages

if TYPE_CHECKING:  # the command line shows its help without the SDK
    from docker import DockerClient

GUEST = Path(__file__).resolve().parent / "guest"
GUEST_ROOT = "/opt/rlcode"
"""Folder of the image that holds the package `guest`."""
HASH_LABEL = "rlcode.guest"
PACKAGES_LABEL = "rlcode.packages"
REPOSITORY_LABEL = "rlcode.repository"
"""What the image was named, without the tag; says what an image without a name was."""
DEFAULT_BASE = "python:3.12-slim-bookworm"
"""From 3.12 on a verdict costs less, and the packages have wheels up to 3.12."""
OLDEST_PYTHON = (3, 10)
BUILD_LIMIT_S = 1800
"""How long a build may be silent: a base is pulled or packages are installed without a word."""
OTHER_BASE = "name a base that this machine has, with python3 >= 3.10, with `--base IMAGE`"


def sources(folder: Path) -> dict[str, bytes]:
    """The Python files below a folder, by relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.py"))}


def hash_of(files: dict[str, bytes]) -> str:
    """Hash of names and contents, as 64 hex digits."""
    digest = hashlib.sha256()
    for name, data in files.items():
        digest.update(json.dumps([name, hashlib.sha256(data).hexdigest()]).encode())
    return digest.hexdigest()


# Read once: an update of the files under a running process changes neither what it speaks nor what it builds.
_GUEST_SOURCES = sources(GUEST)
GUEST_HASH = hash_of(_GUEST_SOURCES)
"""What an image must bear to fit this host."""
DEFAULT_IMAGE = f"rlcode-sandbox:{GUEST_HASH[:12]}"


def find(client: DockerClient, image: str = DEFAULT_IMAGE) -> str:
    """Id (`sha256:…`) of the image by name or id, once it is known to hold this version's guest.

    Raises:
        SandboxUnavailableError: there is no such image, or it holds another guest.
    """
    import docker.errors

    try:
        found = client.images.get(image)
    except docker.errors.ImageNotFound:
        raise SandboxUnavailableError(f"there is no Docker image {image}; make it with `{_command(image)}`") from None
    if found.labels.get(HASH_LABEL) != GUEST_HASH:
        raise SandboxUnavailableError(
            f"the Docker image {image} was not built from this version of rlcode; rebuild it with `{_command(image)}`"
        )
    return str(found.id)


def _command(image: str) -> str:
    return "rlcode sandbox build" + ("" if image == DEFAULT_IMAGE else f" --tag {image}")


def build(client: DockerClient, base: str = DEFAULT_BASE, tag: str = DEFAULT_IMAGE, wanted: Sequence[str] = ()) -> str:
    """Build the image from `base`, which needs `python3`, and return its id.

    A base that is on the engine already needs no network. `wanted` are requirements as pip knows them; they are fetched
    by this machine's pip, with what they need.

    Raises:
        InputError: the base can't serve: it is not to be had, has no Python 3.10, or declares volumes; or the packages
            are not to be had for it.
        SandboxError: the engine could not build.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as context:
        target, wheels = None, []
        if wanted:
            target = python_of(client, base)
            wheels = packages.fetch(wanted, target, Path(folder))
        recipe = dockerfile(base, target.site if target else None)
        _write_context(context, recipe, wheels)
        image = _built(client, base, tag, context, wanted)
    _refuse_volumes(client, base, image)
    return str(image.id)


def dockerfile(base: str, site: str | None = None) -> str:
    """The recipe, for a base without a shell as well; `site` is the folder for packages, where there are any."""
    check = f"import sys; sys.version_info >= {OLDEST_PYTHON} or sys.exit('python3 is older than 3.10')"
    # A tmpfs over a folder of the image takes the folder's mode, not the one it was asked for.
    work = "import os, shutil; shutil.rmtree('/w', True); os.mkdir('/w'); os.chmod('/w', 0o711)"
    # The root is read-only at run time: byte code that is not here now is compiled at each start.
    compile_all = "import compileall, sys; compileall.compile_dir(sys.argv[1], quiet=2, workers=0)"
    with_packages = [f"COPY packages {site}", _run("-c", compile_all, site)] if site else []
    steps = [
        f"FROM {base}",
        "USER 0:0",
        _run("-c", check),
        _run("-c", work),
        *with_packages,
        f"COPY guest {GUEST_ROOT}/guest",
        _run("-m", "compileall", "-q", f"{GUEST_ROOT}/guest"),
        "ENTRYPOINT []",
    ]
    return "\n".join(steps) + "\n"


def repository_of(tag: str) -> str:
    """The name of an image without its tag."""
    name, _, tail = tag.rpartition(":")
    return name if name and "/" not in tail else tag


def python_of(client: DockerClient, base: str) -> packages.Target:
    """The Python of a base image, which is fetched where the engine does not have it.

    Raises:
        InputError: there is no such image, or no python3 in it.
        SandboxError: the engine could not run it.
    """
    import docker.errors

    code = (
        "import json, platform, sys, sysconfig; "
        "print(json.dumps(['%d.%d' % sys.version_info[:2], platform.machine(), platform.libc_ver()[1], "
        "sysconfig.get_path('purelib')]))"
    )
    _fetch(client, base)
    try:
        said = client.containers.run(base, ["-c", code], entrypoint=["python3"], network_mode="none", remove=True)
        return packages.Target(*json.loads(said))
    except docker.errors.ContainerError as error:
        raise InputError(f"the python3 of the base {base} does not work: {error}; {OTHER_BASE}") from error
    except docker.errors.APIError as error:
        if "executable file not found" in str(error):
            raise InputError(f"the base {base} has no python3; {OTHER_BASE}") from error
        raise _refused(base, error) from error


def _fetch(client: DockerClient, base: str) -> None:
    """Have the engine fetch a base that it does not have."""
    import docker.errors

    try:
        client.images.get(base)
    except docker.errors.ImageNotFound:
        try:
            client.images.pull(base)
        except docker.errors.APIError as error:
            raise InputError(
                f"there is no base image {base}, and it can't be fetched: {error}; {OTHER_BASE}"
            ) from error


def _run(*arguments: str) -> str:
    return "RUN " + json.dumps(["python3", *arguments])


def _built(client: DockerClient, base: str, tag: str, context: IO[bytes], wanted: Sequence[str]) -> Any:
    import docker.errors
    import requests

    try:
        image, _ = client.images.build(
            fileobj=context,
            custom_context=True,
            tag=tag,
            rm=True,
            forcerm=True,
            labels={HASH_LABEL: GUEST_HASH, PACKAGES_LABEL: " ".join(wanted), REPOSITORY_LABEL: repository_of(tag)},
            network_mode="none",  # nothing is fetched by the steps; this also suits an engine that has no bridge
            timeout=BUILD_LIMIT_S,
        )
    except docker.errors.BuildError as error:
        reason = _last_words(error.build_log, str(error))
        raise InputError(f"no sandbox image from the base {base}: {reason}; {OTHER_BASE}") from error
    except docker.errors.APIError as error:
        raise _refused(base, error) from error
    except requests.RequestException as error:
        raise SandboxError(f"the connection to the Docker engine was lost while it built: {error}") from error
    return image


def _write_context(file: IO[bytes], recipe: str, wheels: Iterable[Path]) -> None:
    """A tar archive that depends on nothing but names and contents, so that the engine's cache can hit."""
    with tarfile.open(fileobj=file, mode="w") as tar:
        _add(tar, "Dockerfile", recipe.encode())
        for name, data in _GUEST_SOURCES.items():
            _add(tar, f"guest/{name}", data)
        for wheel in wheels:
            for name, data in packages.installed_files(wheel):
                _add(tar, f"packages/{name}", data)
    file.seek(0)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))


def _last_words(log: Iterable[object], otherwise: str) -> str:
    """The last lines that a failed build printed; they hold the failing step's own message."""
    lines = [line for event in log for line in _printed(event) if not line.startswith((" --->", "Removing"))]
    return " / ".join(lines[-4:]) or otherwise


def _printed(event: object) -> Iterator[str]:
    text = event.get("stream") or event.get("error") or "" if isinstance(event, dict) else ""
    return (line.strip() for line in str(text).splitlines() if line.strip())


def _refused(base: str, error: Exception) -> InputError | SandboxError:
    import docker.errors

    if isinstance(error, docker.errors.NotFound):
        return InputError(f"there is no base image {base}; {OTHER_BASE}")
    return SandboxError(f"the Docker engine could not build from {base}: {error}")


def _refuse_volumes(client: DockerClient, base: str, image: object) -> None:
    """A volume that the base declares would be a writable folder that outlives programs."""
    attributes = getattr(image, "attrs", {})
    volumes = (attributes.get("Config") or {}).get("Volumes")
    if volumes:
        client.images.remove(attributes["Id"], force=True)
        raise InputError(f"the base {base} declares the volumes {', '.join(volumes)}; take one that declares none")
