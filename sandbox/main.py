"""The command `rlcode sandbox`: build the image of the Docker sandbox, and check that a sandbox works here."""

from __future__ import annotations

import argparse
import sys
import time

from rlcode.errors import SandboxError
from rlcode.types import Unscored
from sandbox.image import DEFAULT_BASE, DEFAULT_IMAGE
from sandbox.keeper import CONTROL
from sandbox.pool import BACKENDS, open_sandbox

BUILD_HELP = """\
Build the image that the containers of the sandbox run: a base with python3 (3.10 or newer), plus rlcode's own judge.

Without --packages nothing is fetched but a base that this machine does not have: with a base that is there already,
the build needs no network. --packages takes the base's own pip, and a network.
"""


def main(argv: list[str]) -> int:
    """Run `rlcode sandbox ARGV…`; returns the exit code."""
    arguments = parser().parse_args(argv)
    return int(arguments.run(arguments))


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="rlcode sandbox", description=__doc__)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    raw = argparse.RawDescriptionHelpFormatter
    build = commands.add_parser("build", help="build the Docker image", description=BUILD_HELP, formatter_class=raw)
    build.add_argument("--base", default=DEFAULT_BASE, metavar="IMAGE", help="image to start from (%(default)s)")
    build.add_argument("--tag", default=DEFAULT_IMAGE, help="name of the result (%(default)s)")
    build.add_argument("--packages", nargs="+", default=[], metavar="NAME", help="packages for the judged programs")
    build.set_defaults(run=build_image)
    check = commands.add_parser("check", help="judge a known-good program", description="Judge a known-good program.")
    check.add_argument("--backend", default="auto", choices=BACKENDS)
    check.add_argument("--image", default=DEFAULT_IMAGE, help="image of the Docker backend (%(default)s)")
    check.set_defaults(run=check_sandbox)
    return whole


def build_image(arguments: argparse.Namespace) -> int:
    """Build, and print the image's name and id."""
    from sandbox import image  # these two load the Docker SDK
    from sandbox.docker import connect

    client = connect()
    try:
        built = image.build(client, arguments.base, arguments.tag, arguments.packages)
    finally:
        client.close()
    print(f"{arguments.tag}  {built}")
    return 0


def check_sandbox(arguments: argparse.Namespace) -> int:
    """Judge a known-good program, and print where it ran and how long that took.

    Raises:
        SandboxError: it did not pass.
    """
    started = time.monotonic()
    with open_sandbox(arguments.backend, workers=1, image=arguments.image) as sandbox:
        (result,) = sandbox.judge([CONTROL])
        took = time.monotonic() - started
    if isinstance(result, Unscored):
        raise SandboxError(result.reason)
    if not result.passed:
        raise SandboxError(f"a known-good program failed: {result.error_type}, {result.detail}")
    print(f"{sandbox.backend} works: first verdict after {took:.2f} s  {sandbox.image_digest}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
