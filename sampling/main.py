"""`rlcode rollout`: write completions of a policy and judge them, what DPO trains on; and `rlcode rollout show`.

Each rollout is on disk as soon as it is judged; the same command again goes on where it stopped.
"""

from __future__ import annotations

import sys


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    if argv[:1] == ["show"]:
        from sampling.commands import show

        return show.main(argv[1:])
    from sampling.commands import run

    return run.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
