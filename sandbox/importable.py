"""Which modules the programs in a sandbox can import, as a program there sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rlcode.errors import SandboxError
from rlcode.types import ErrorType, Limits, Problem, Program, TestCase, TestKind, Unscored, Verdict
from sandbox import packages
from sandbox.protocol import Job, Sandbox

DISTRIBUTIONS = {
    "Crypto": "pycryptodome",
    "Levenshtein": "levenshtein",
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dns": "dnspython",
    "docx": "python-docx",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""What is to be installed for a module, where that is not its name."""
_AT_ONCE = 40  # names, so that what is printed of them is not cut
_PROBE = """
from importlib.util import find_spec
for name in {names!r}:
    if find_spec(name) is None:
        print(name)
"""


def missing_modules(names: Iterable[str], sandbox: Sandbox) -> set[str]:
    """Those of some top-level modules that no program in the sandbox can import.

    Raises:
        SandboxError: it could not say.
    """
    wanted = sorted(set(names))
    jobs = [_probe(wanted[start : start + _AT_ONCE]) for start in range(0, len(wanted), _AT_ONCE)]
    return {name for result in sandbox.judge(jobs) for name in _printed(result)}


def build_command(missing: Iterable[str]) -> str:
    """The command that builds an image with the usual packages and those of some modules."""
    usual = {line.partition("==")[0] for line in packages.requirements(None)}
    more = sorted({DISTRIBUTIONS.get(name, name) for name in missing} - usual)
    return " ".join(["rlcode sandbox build", *(["--packages sandbox/packages.txt", *more] if more else [])])


def _probe(names: Sequence[str]) -> Job:
    problem = Problem("modules", "", (TestCase(TestKind.STDIO),))
    return Job(problem, Program(_PROBE.format(names=list(names)), "modules"), Limits(time_s=60.0))


def _printed(result: Verdict | Unscored) -> Iterator[str]:
    if isinstance(result, Unscored):
        raise SandboxError(f"the sandbox does not say which modules it has: {result.reason}")
    if result.error_type not in (None, ErrorType.WRONG_ANSWER):  # no output was asked for
        raise SandboxError(f"the sandbox does not say which modules it has: {result.error_type}, {result.detail}")
    yield from result.stdout.split()
