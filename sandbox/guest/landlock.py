"""Landlock: a second wall around the file system, for kernels that have it.

The mounts already decide what a program sees; this also holds where a mount was overlooked, and keeps the program's
signals and abstract sockets to itself on newer kernels.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from .kernel import syscall

_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE
# Bits known at each version of the interface; a kernel refuses bits that it does not know.
_FILE_ACCESS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_ACCESS = {4: 3}
_SCOPES = {6: 3}


def ruleset(readable: Iterable[str], writable: Iterable[str], devices: Iterable[str]) -> int | None:
    """A file descriptor to restrict with, or None where the kernel has no Landlock.

    `readable` and `writable` are folders or files with all below them; `devices` can be read and written.
    """
    try:
        version = syscall("landlock_create_ruleset", 0, 0, _VERSION_FLAG)
    except OSError:  # not built in, not switched on, or hidden by an outer filter
        return None
    file_access = _newest(_FILE_ACCESS, version)
    attributes = struct.pack("=QQQ", file_access, _newest(_NET_ACCESS, version), _newest(_SCOPES, version))
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    fd = syscall("landlock_create_ruleset", attributes, size, 0)
    for paths, access in ((readable, _READ), (writable, file_access & ~_EXECUTE), (devices, _WRITE_FILE | _READ_FILE)):
        for path in paths:
            _allow(fd, path, access & file_access)
    return fd


def restrict(fd: int) -> None:
    """Bind this process and all that it starts to the rules behind `fd`; needs no_new_privs."""
    syscall("landlock_restrict_self", fd, 0)


def _newest(table: dict[int, int], version: int) -> int:
    known = [bits for since, bits in table.items() if since <= version]
    return known[-1] if known else 0


def _allow(ruleset_fd: int, path: str, access: int) -> None:
    path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):
            access &= _ON_FILES
        rule = ctypes.create_string_buffer(struct.pack("=Qi", access, path_fd))
        syscall("landlock_add_rule", ruleset_fd, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(path_fd)
