"""A program in its process: compiled, a module of the interpreter, and brought to its end as the interpreter does."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys
import threading
import types
from typing import NoReturn

FILE_NAME = "<program>"
_BYTE_ORDER_MARK = "\ufeff"
_STREAMS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


def compiled(source: str) -> types.CodeType:
    """The code of a program.

    Raises:
        Exception: what Python has to say of a source that does not compile.
    """
    return compile(source.removeprefix(_BYTE_ORDER_MARK), FILE_NAME, "exec", dont_inherit=True)


def new_module(name: str) -> types.ModuleType:
    """An empty module that is known to the interpreter, as its main module too."""
    module = types.ModuleType(name)
    sys.modules[name] = sys.modules["__main__"] = module
    return module


def line_of(error: BaseException) -> int | None:
    """The line of the program that raised: the last of its lines in the traceback."""
    if isinstance(error, SyntaxError) and error.filename == FILE_NAME:
        return error.lineno
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE_NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def exit_code(error: SystemExit) -> int:
    """The code that a process ends with for it."""
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def finish(code: int) -> NoReturn:
    """End as the interpreter does: wait for threads, run exit handlers, flush."""
    try:
        for step in (threading._shutdown, atexit._run_exitfuncs, flush, _flush_all):  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):  # the interpreter shows it and goes on
                step()
    finally:
        os._exit(code)


def flush() -> None:
    """Flush the standard streams, whatever the program made of them."""
    for stream in dict.fromkeys((sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)):
        try:
            stream.flush()  # type: ignore[union-attr]
        except (AttributeError, ValueError):  # the program put something else there, or closed it
            continue


def _flush_all() -> None:
    """Flush what the program itself opened: the interpreter does when it lets go of its objects."""
    ours = gc.get_objects()  # without what was there before the program
    streams = [value for value in ours if issubclass(type(value), _STREAMS)]
    for kinds in (io.TextIOWrapper, _STREAMS[1:]):  # the first write to the others
        for stream in streams:
            if isinstance(stream, kinds):
                with contextlib.suppress(Exception):  # closed, detached, or not for writing
                    stream.flush()
