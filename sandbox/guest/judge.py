"""The judge: the only part that sees tests, expected values and verdicts.

    python3 -m guest.judge --mode container --uid_base N --uid_count M    in a container, as its first process
    python3 -m guest.judge --mode userns                                  beside the host process, without a container

Speaks the frames of `wire` on its stdin and stdout, and ends when its stdin does or the host process is gone.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import random
import resource
import select
import sys
import time
from typing import Any

from . import kernel, wire
from .call_tests import judge_calls
from .fork_client import ForkServer, Limits, UserIds
from .function_tests import judge_functions
from .plan import Plan, plan_for
from .script_tests import judge_scripts
from .stops import BadTests, SandboxBroken
from .tally import Tally
from .unittest_tests import judge_unittests

MODES = ("container", "userns")
MAX_MEMORY = 1 << 30
"""Address space of the judge: a program's answer must not fill the machine's memory."""
MOST_S_AT_ONCE = 0.1
"""Seconds on the clock after which no further program of a frame is begun."""
_ASK_FOR_PARENT_MS = 1000


def answer(server: ForkServer, request: dict[str, Any]) -> dict[str, Any]:
    """The frame that answers a request.

    Raises:
        SandboxBroken: there can be no answer.
    """
    _seed()
    try:
        plan = plan_for(request["problem"])
        limits = Limits(**request["limits"])
        tally = Tally(plan.size, limits.failures)
        _judge(server, plan, request["source"], limits, tally)
    except BadTests as fault:
        return {"id": request["id"], "error": str(fault)[:2000]}
    worn = ["user ids are running out"] if server.is_worn else []
    anomaly = "; ".join(tally.leftovers + worn) or None
    return {"id": request["id"], "verdict": tally.verdict(), "anomaly": anomaly}


def _judge(server: ForkServer, plan: Plan, source: str, limits: Limits, tally: Tally) -> None:
    """Run the tests of each kind, until too many have failed."""
    if plan.functions:
        judge_functions(server, plan.functions, source, limits, tally)
    if plan.calls and tally.failures_left > 0:
        judge_calls(server, plan.calls, plan.rule, source, limits, tally)
    if plan.stdio and tally.failures_left > 0:
        judge_scripts(server, plan.stdio, plan.rule, source, limits, tally)
    for tests in plan.unittests:
        if tally.failures_left > 0:
            judge_unittests(server, tests, source, limits, tally)


def answer_some(server: ForkServer, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers to the first of some requests, at least one. What is left waits for no slow program here, and comes
    into no place that is not clean."""
    answers: list[dict[str, Any]] = []
    started = time.monotonic()
    for request in requests:
        answers.append(answer(server, request))
        if answers[-1].get("anomaly") or time.monotonic() - started > MOST_S_AT_ONCE:
            break
    return answers


def _seed() -> None:
    """Have tests that throw dice throw the same for every program: a verdict is no matter of luck."""
    random.seed(0)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(0)


def serve(server: ForkServer, requests: int, answers: int, mode: str) -> None:
    """Answer requests from the descriptor `requests` until it ends."""
    parent = os.getppid()
    _send(answers, {"ready": {"python": platform.python_version(), "mode": mode}})
    waiting = select.poll()
    waiting.register(requests, select.POLLIN)
    while True:
        while not waiting.poll(_ASK_FOR_PARENT_MS):
            # A process that the host forked may hold the other end open, so the end of the stream is not enough.
            if os.getppid() != parent:
                return
        try:
            request = wire.read(lambda size: os.read(requests, min(size, 1 << 20)))
        except wire.WireError:
            return
        several = request.get("requests")
        _send(answers, {"answers": answer_some(server, several)} if several else answer(server, request))


def main() -> int:
    """Run the judge; returns the exit code."""
    arguments = _arguments()
    requests, answers = _take_streams()
    ids = UserIds(arguments.uid_base, arguments.uid_count) if arguments.mode == "container" else None
    try:
        server = ForkServer(arguments.mode, ids, host=requests)
        _harden()
        serve(server, requests, answers, arguments.mode)
    except SandboxBroken as broken:
        print(f"the sandbox is broken: {broken}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--mode", choices=MODES, required=True)
    parser.add_argument("--uid_base", type=int, default=0)
    parser.add_argument("--uid_count", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.mode == "container" and not (arguments.uid_base > 0 and arguments.uid_count > 0):
        parser.error("--mode container needs --uid_base and --uid_count")
    return arguments


def _take_streams() -> tuple[int, int]:
    """Keep the frames' descriptors to ourselves: tests that print must not get in between."""
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(null, standard)
    os.close(null)
    return requests, answers


def _harden() -> None:
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    gc.freeze()


def _send(fd: int, message: dict[str, Any]) -> None:
    view = memoryview(wire.encode(message))
    while view:
        view = view[os.write(fd, view) :]


if __name__ == "__main__":
    sys.exit(main())
