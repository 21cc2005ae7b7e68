"""The process that runs `rlcode.extraction` on hostile text; `rlcode.extraction_worker` starts and ends it.

It is run as a file by `python -I -S`, reads batches of requests from stdin and writes their answers to stdout, a JSON
line for each batch, and needs nothing but the standard library. It is not a sandbox: nothing runs the text. It bounds
what parsing the text may cost, and dies in the trainer's stead where the parser breaks.

    python extraction_guest.py CPU_SECONDS MEMORY_MB
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from typing import Any

# last, so that no folder of ours can hide a module of the standard library
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rlcode.extraction import NoCode, extract
from rlcode.types import Problem, Program, TestCase, TestKind


def serve(cpu_seconds: int) -> None:
    """Answer requests until stdin ends. The kernel ends the process when a request takes too much CPU time."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        programs = [answer(request, cpu_seconds) for request in json.loads(line)]
        print(json.dumps([[program.source, program.how] for program in programs]), flush=True)


def answer(request: dict[str, Any], cpu_seconds: int) -> Program:
    """The program in `request["text"]`; a text that the parser has no room for holds none."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + cpu_seconds, hard))
    problem = Problem(
        task_id="",
        prompt=request["prompt"],
        tests=tuple(TestCase(TestKind(kind)) for kind in request["kinds"]),
        entry_point=request["entry_point"],
        declares=tuple(request["declares"]),
        prompt_is_code=request["prompt_is_code"],
    )
    try:
        return extract(request["text"], problem, trim=request["trim"])
    except (RecursionError, MemoryError) as error:
        return Program(None, f"{NoCode.FAILED}: {type(error).__name__}")


def main() -> None:
    cpu_seconds, memory = int(sys.argv[1]), int(sys.argv[2]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(cpu_seconds)


if __name__ == "__main__":
    main()
