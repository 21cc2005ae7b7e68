"""What a fork server has made immortal is shared by the processes that it forks, and nothing else changes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import docker
import pytest

from sandbox.image import DEFAULT_IMAGE, GUEST, GUEST_ROOT

SCRIPT = """
import collections, decimal, fractions, gc, json, os, random, re, resource, statistics, sys, typing
from guest import immortal

def copied():
    "How many pages a forked process copies while it looks at everything that there is."
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(2):
            references = list(everything)
        os.write(writing, str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return int(os.read(reading, 100))

gc.collect()
everything = gc.get_objects()
before = copied()
number = immortal.freeze()
gc.freeze()
after = copied()
class Fresh:
    def __del__(self):
        gone.append(1)
gone = []
Fresh()
references = sys.getrefcount(json)
holding = [json] * 1000
print(json.dumps({
    "number": number, "before": before, "after": after, "gone": gone, "again": immortal.freeze(),
    "counted": sys.getrefcount(json) - references, "works": [len("a" * 9), re.sub("a", "b", "aa"), sum(range(9))],
    "version": sys.version_info[:2],
}))
"""


def run_on_host(engine: docker.DockerClient) -> Any:
    command = [sys.executable, "-c", SCRIPT]
    return json.loads(subprocess.run(command, cwd=GUEST.parent, capture_output=True, text=True, check=True).stdout)


def run_in_image(engine: docker.DockerClient) -> Any:
    command = ["python3", "-c", SCRIPT]
    return json.loads(
        engine.containers.run(
            DEFAULT_IMAGE, command, entrypoint=[], working_dir=GUEST_ROOT, network_mode="none", remove=True
        )
    )


@pytest.mark.parametrize("run", [run_on_host, run_in_image])
def test_forked_processes_share_what_is_immortal_where_the_interpreter_knows_such_objects(
    run: Any, engine: docker.DockerClient
) -> None:
    found = run(engine)
    assert found["works"] == [9, "bb", 36]
    assert found["gone"] == [1]  # what is made later is let go of as ever
    if tuple(found["version"]) < (3, 12):
        assert found["number"] == 0
        assert found["counted"] == 1000
    else:
        assert found["number"] > 10_000
        assert found["counted"] == 0
        assert found["again"] < found["number"] / 20
        assert found["after"] < found["before"] / 4
