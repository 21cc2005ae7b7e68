"""Workers in Docker: one long-lived hardened container each, spoken to over the SDK's attached stream.

The container is left with nothing to reach: no network, a read-only root, no IPC, a small no-exec work folder, the
three capabilities that the judge needs to take user ids and to kill. It ends with its host process, whichever way
that ends: its stdin closes, the judge leaves, the engine removes it.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker
import docker.errors
from docker import DockerClient
from docker.models.containers import Container
from docker.types import LogConfig, Ulimit

from rlcode.errors import ConfigError, SandboxError, SandboxUnavailableError
from rlcode.types import Limits
from sandbox import image as images
from sandbox import losses, owners
from sandbox.attach import AttachedStream
from sandbox.cache import VerdictCache
from sandbox.guest import wire
from sandbox.losses import ENGINE_TROUBLE
from sandbox.pool import WorkerPool
from sandbox.worker import WorkerLost

log = logging.getLogger(__name__)

NAME_PREFIX = "rlcode-uids-"
START_LIMIT_S = 60.0
REMOVE_LIMIT_S = 30.0
MEMORY_HEADROOM_MB = 448
"""What the container may use beyond one program's memory and work folder: judge, fork server, captured output."""
MAX_PROCESSES = 240
"""Processes that a program's limits may ask for; the container's own limit lies a little above."""
USUAL = Limits()
_ENVIRONMENT = {"PYTHONPATH": images.GUEST_ROOT, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
HOW_TO_GET_AN_ENGINE = (
    "start it (`systemctl start docker`, or `dockerd` as root), let this user use it (group `docker`), or name another "
    "with DOCKER_HOST"
)


def connect() -> DockerClient:
    """A client of the engine that DOCKER_HOST names, or of the local one.

    Raises:
        SandboxUnavailableError: no engine answers; the message says why and what to do.
    """
    try:
        client = docker.from_env()
        client.ping()
    except ENGINE_TROUBLE as error:
        where = os.environ.get("DOCKER_HOST", "the default socket")
        raise SandboxUnavailableError(
            f"no Docker engine answers at {where} ({error}); {HOW_TO_GET_AN_ENGINE}"
        ) from error
    return client


@dataclass(frozen=True)
class UidSpace:
    """User ids of an engine, cut into ranges: the kernel counts processes by user id over all containers.

    A range is leased by the name of the container that uses it, since an engine gives a name only once. All hosts
    of an engine must cut alike, so these numbers never change.
    """

    first: int
    count: int
    """User ids of one range."""
    ranges: int

    @classmethod
    def of(cls, client: DockerClient) -> UidSpace:
        """The space that fits the engine: one that maps user ids has but 65536 of them."""
        options = client.info().get("SecurityOptions") or []
        if any("rootless" in option or "userns" in option for option in options):
            return cls(first=1000, count=1000, ranges=64)
        # Above what distributions, systemd and subordinate ids hand out, below the sign bit.
        return cls(first=1_900_000_000, count=1 << 16, ranges=3700)

    def base(self, index: int) -> int:
        """First user id of a range."""
        return self.first + index * self.count

    def free(self, client: DockerClient) -> Iterator[int]:
        """Indices of the ranges that no container seems to hold, lowest first; another process may be faster."""
        found = client.containers.list(all=True, filters={"name": NAME_PREFIX}, sparse=True)
        held = {name.removeprefix(f"/{NAME_PREFIX}") for one in found for name in one.attrs["Names"]}
        return (index for index in range(self.ranges) if str(index) not in held)


def hardening(memory_mb: int, disk_mb: int, cpus: float) -> dict[str, Any]:
    """The arguments of `containers.create` that shut a container in; memory and disk in MiB, `cpus` in cores."""
    return {
        "network_mode": "none",
        "read_only": True,
        "user": "0:0",
        "cap_drop": ["ALL"],
        "cap_add": ["SETUID", "SETGID", "KILL"],
        "security_opt": ["no-new-privileges"],
        "ipc_mode": "none",
        "sysctls": {
            "kernel.shmmni": "0",
            "kernel.msgmni": "0",
            "kernel.sem": "0 0 0 0",
            "fs.mqueue.queues_max": "0",
        },
        "pids_limit": MAX_PROCESSES + 16,
        "mem_limit": f"{memory_mb}m",
        "memswap_limit": f"{memory_mb}m",
        "nano_cpus": int(cpus * 1e9),
        "tmpfs": {"/w": f"rw,noexec,nosuid,nodev,size={disk_mb}m,nr_inodes=4k,mode=0711"},
        "log_config": LogConfig(type="none"),
        "ulimits": [Ulimit(name="core", soft=0, hard=0)],
        "healthcheck": {"test": ["NONE"]},
        "stop_signal": "SIGKILL",  # there is nothing to save, and an engine that is stopped waits for its containers
    }


class DockerWorker:
    """A judge in a container of its own. Not for two threads at once, but `kill` may come from any."""

    def __init__(
        self, client: DockerClient, image_id: str, uids: UidSpace, limits: Limits = USUAL, *, cpus: float = 1.0
    ) -> None:
        """Raises ConfigError when `limits` ask for more than a container may have."""
        if limits.processes > MAX_PROCESSES:
            raise ConfigError(f"limits.processes is {limits.processes}; a container has at most {MAX_PROCESSES}")
        self._client = client
        self._image_id = image_id
        self._uids = uids
        self._cpus = cpus
        self._made_for = dataclasses.replace(limits, memory_mb=max(limits.memory_mb, USUAL.memory_mb))
        self._container: Container | None = None
        self._stream: AttachedStream | None = None
        self._busy = threading.RLock()  # held while the stream is in use
        self._killed = False

    def suits(self, limits: Limits) -> bool:
        """Whether the container has the memory, the processes and exactly the disk that these limits ask for."""
        made = self._made_for
        enough = limits.memory_mb <= made.memory_mb and limits.processes <= MAX_PROCESSES
        return enough and limits.disk_mb == made.disk_mb

    @property
    def container_id(self) -> str:
        """Id of the running container; empty where there is none."""
        return str(self._container.id) if self._container else ""

    def start(self) -> None:
        """Make the container, attach, start, and wait for the judge to say that it is ready.

        Raises:
            SandboxError: any of that failed or took more than a minute.
        """
        try:
            with self._busy:
                self._container = self._create()
                self._stream = self._attach(self._container)
                self._container.start()
                self._stream.within(START_LIMIT_S)
                greeting = wire.read(self._stream.receive)
        except (*ENGINE_TROUBLE, wire.WireError, ValueError) as error:
            explanation = self._explain(error)
            self.kill()
            raise SandboxError(f"a sandbox container did not start: {explanation}") from error
        if "ready" not in greeting:
            self.kill()
            raise SandboxError(f"a sandbox container greeted with {str(greeting)[:200]!r} instead of `ready`")

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Hand the judge one request and return its answer.

        Raises:
            WorkerLost: the container is gone, broke the protocol, or was silent for `timeout_s` seconds.
        """
        with self._busy:
            if self._container is None or self._stream is None:
                raise WorkerLost("the container is not running")
            try:
                self._stream.within(timeout_s)
                self._stream.send(wire.encode(request))
                return wire.read(self._stream.receive)
            except TimeoutError as error:
                outside = losses.was_frozen(self._client, self._container)
                raise WorkerLost(
                    f"the container gave no answer within {timeout_s:.0f} s", from_outside=outside
                ) from error
            except (*ENGINE_TROUBLE, wire.WireError, ValueError) as error:
                outside = self._killed or losses.was_killed(self._client, self._container)
                raise WorkerLost(f"the container was lost: {self._explain(error)}", from_outside=outside) from error

    def kill(self) -> None:
        """Remove the container with all that runs in it, and wait until it is gone (at most half a minute)."""
        self._killed = True
        if (stream := self._stream) is not None:
            stream.wake()
        with self._busy:
            container, self._container, self._stream = self._container, None, None
            if stream is not None:
                stream.close()
        if container is not None:
            try:
                remove(container)
            except (*ENGINE_TROUBLE, SandboxError) as error:
                # Its stdin is closed, so the container ends by itself; the engine, when it is back, removes it.
                log.warning("the container %s could not be removed: %s", container.name, error)

    def _create(self) -> Container:
        """A created container under the first free name, which is the lease of its user ids."""
        for index in self._uids.free(self._client):
            try:
                return self._client.containers.create(
                    self._image_id,
                    self._command(self._uids.base(index)),
                    name=f"{NAME_PREFIX}{index}",
                    labels=owners.labels(),
                    environment=_ENVIRONMENT,
                    entrypoint=[],
                    working_dir="/",
                    stdin_open=True,  # and, as the SDK attaches, closed for good with the first client that leaves
                    auto_remove=True,
                    **self._hardening(),
                )
            except docker.errors.APIError as error:
                if error.status_code != 409:
                    raise
        raise SandboxError(
            f"all {self._uids.ranges} ranges of user ids of this engine are taken by containers named {NAME_PREFIX}*"
        )

    def _hardening(self) -> dict[str, Any]:
        limits = self._made_for
        return hardening(limits.memory_mb + limits.disk_mb + MEMORY_HEADROOM_MB, limits.disk_mb, self._cpus)

    def _command(self, uid_base: int) -> list[str]:
        uids = ["--uid_base", str(uid_base), "--uid_count", str(self._uids.count)]
        return ["python3", "-m", "guest.judge", "--mode", "container", *uids]

    def _attach(self, container: Container) -> AttachedStream:
        parameters = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        return AttachedStream(self._client.api.attach_socket(str(container.id), params=parameters))

    def _explain(self, error: Exception) -> str:
        said = self._stream.last_words() if self._stream else ""
        return f"{error}; it said: {said[-500:]}" if said else str(error)


def remove(container: Container) -> None:
    """Remove a container, running or not, and wait until its name is free.

    Raises:
        SandboxError: it is still there after half a minute.
    """
    deadline = time.monotonic() + REMOVE_LIMIT_S
    while time.monotonic() < deadline:
        try:
            container.remove(force=True, v=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if error.status_code != 409:  # its removal is under way
                raise
        time.sleep(0.02)
    raise SandboxError(f"the Docker engine did not remove the container {container.name} in {REMOVE_LIMIT_S:.0f} s")


def remove_leftovers(client: DockerClient) -> int:
    """Remove the containers of host processes that died before they could, and return how many there were."""
    found = client.containers.list(all=True, filters={"label": owners.OWNER_LABEL}, ignore_removed=True)
    dead = [container for container in found if owners.is_dead(container.labels)]
    for container in dead:
        remove(container)
    return len(dead)


class DockerSandbox(WorkerPool):
    """The sandbox of choice: `workers` containers of the image, made as they are needed."""

    def __init__(self, workers: int, image: str = images.DEFAULT_IMAGE, cache: VerdictCache | None = None) -> None:
        """Find the engine and the image, and clear away what dead processes left.

        Raises:
            SandboxUnavailableError: there is no engine, or not the right image; the message says what to do.
        """
        self._client = connect()
        image_id = images.find(self._client, image)
        uids = UidSpace.of(self._client)
        remove_leftovers(self._client)
        super().__init__(
            lambda limits: DockerWorker(self._client, image_id, uids, limits),
            workers,
            backend="docker",
            image_digest=image_id,
            cache=cache,
            start_ahead=True,
        )

    def close(self) -> None:
        super().close()
        self._client.close()
