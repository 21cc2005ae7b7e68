"""Whether programs can be judged here: with Docker, in user namespaces, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

from rlcode.errors import SandboxUnavailableError
from train.doctor.findings import Finding, State

ENGINE = "Docker engine"
IMAGE = "sandbox image"
LOCAL = "user namespaces"


def docker() -> Iterator[Finding]:
    """The engine, and whether it has an image of this version's guest."""
    from sandbox import docker as backend
    from sandbox import image as images

    blocks = "--sandbox docker; use --sandbox local"
    try:
        client = backend.connect()
    except SandboxUnavailableError as error:
        yield Finding(ENGINE, State.LIMITS, str(error), blocks, _way_to_an_engine(str(error)))
        return
    try:
        about = client.info()
        version, cgroups = about["ServerVersion"], about.get("CgroupVersion", "1")
        facts = {"version": version, "cgroups": cgroups}
        yield Finding(ENGINE, State.FINE, f"{version}, control groups v{cgroups}", facts=facts)
        facts = {"image": images.DEFAULT_IMAGE}
        try:
            facts["digest"] = images.find(client)
            yield Finding(IMAGE, State.FINE, f"{images.DEFAULT_IMAGE}, of this version", facts=facts)
        except SandboxUnavailableError as error:
            yield Finding(IMAGE, State.LIMITS, str(error), blocks, "rlcode sandbox build", facts)
    finally:
        client.close()


def _way_to_an_engine(error: str) -> str:
    if shutil.which("dockerd") is None:
        return "sudo apt-get install docker.io"
    return "sudo usermod -aG docker $USER" if "Permission denied" in error else "sudo systemctl start docker"


def local() -> Iterator[Finding]:
    """User namespaces: a judge is started in them as for a run."""
    from sandbox.local import local_available

    reason = local_available()
    if reason is None:
        yield Finding(LOCAL, State.FINE, "allowed; a judge was started in them")
    else:
        yield Finding(LOCAL, State.LIMITS, reason, "--sandbox local; use --sandbox docker")


def conclusion(docker: Sequence[Finding], local: Sequence[Finding]) -> Finding:
    """What `--sandbox auto` would take, from what the two probes found."""
    if [finding.name for finding in docker if finding.state == State.FINE] == [ENGINE, IMAGE]:
        return Finding("judging", State.FINE, "in Docker", facts={"backend": "docker"})
    if local and all(finding.state == State.FINE for finding in local):
        return Finding("judging", State.FINE, "in the local sandbox", facts={"backend": "local"})
    detail = "neither Docker nor the local sandbox can run here"
    blocks = "everything that judges: rollouts, GRPO, evaluation"
    return Finding("judging", State.BLOCKS, detail, blocks, _way_to_judge(docker), {"backend": None})


def _way_to_judge(docker: Sequence[Finding]) -> str:
    return next((finding.mend for finding in docker if finding.mend), "rlcode sandbox check")
