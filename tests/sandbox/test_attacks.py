"""No attack earns a pass, and none is felt by the programs that come after it."""

from __future__ import annotations

import dataclasses
import time

import pytest

from rlcode.types import ErrorType
from sandbox.protocol import Sandbox
from tests.sandbox.attacks import FAMILIES
from tests.sandbox.programs import SHORT, asserts, judge

DOUBLE = asserts("assert f(2) == 4", "assert f(3) == 6")
LIMITS = dataclasses.replace(SHORT, processes=32)
SLOWEST_S = 20.0
"""An attack may use its time up, and cost a fresh worker; it must not wait for the pool's own watchdog."""

RIGHT = "def f(x): return 2 * x"
WRONG = "def f(x): return x"
# Everything that one program could leave to the next, seen from within; `f` is right if there is nothing.
PROBE = """
import os, sys, threading
found = []
for folder in ('.', '/tmp', '/var/tmp', '/dev/shm', '/run'):
    try: paths = [os.path.join(folder, name) for name in os.listdir(folder)]
    except OSError: continue
    found += [path for path in paths if os.lstat(path).st_uid != 0]
if os.path.isdir('/proc/self'):
    me = {str(os.getpid())}
    for pid in set(filter(str.isdigit, os.listdir('/proc'))) - me:
        try:
            if os.stat(f'/proc/{pid}').st_uid == os.getuid(): found.append(pid)
        except OSError: pass
for number in range(1, 65):
    try:
        import signal
        if signal.getsignal(number) is signal.SIG_IGN and number not in (signal.SIGPIPE,): found.append(number)
    except ValueError: pass
children = [t for t in threading.enumerate() if t is not threading.main_thread()]
if os.stat('.').st_mode & 0o700 != 0o700: found.append('mode')
open('mine', 'w').write('x')
def f(x): return 2 * x if not found and not children else (found, children)
"""


@pytest.mark.parametrize("family", FAMILIES)
def test_attacks_do_not_pass_and_leave_nothing_behind(lone: Sandbox, family: str) -> None:
    failures = {}
    for name, source in FAMILIES[family].items():
        started = time.monotonic()
        attack, right, wrong, probe = judge(lone, DOUBLE, source, RIGHT, WRONG, PROBE, limits=LIMITS)
        took = time.monotonic() - started
        followed = (right.passed, wrong.error_type, probe.passed)
        if attack.passed or followed != (True, ErrorType.WRONG_ANSWER, True) or took > SLOWEST_S:
            failures[name] = (attack, followed, probe.detail, took)
    assert not failures
