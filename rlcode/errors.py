"""Every error that rlcode raises on purpose.

RlcodeError
├── InputError          what the user gave can't be used; the message says what to do; exit code 2
│   ├── ConfigError     a key or value of the configuration
│   ├── DataError       a file or row of data, named with its line
│   └── ShadowedPackageError  a file of the user's hides one of our packages
├── SandboxError        the sandbox, not the program in it, is broken
│   └── SandboxUnavailableError  this machine can't run the backend that was asked for; exit code 2
├── ExtractionError     the process that takes programs out of completions does not start
├── EngineError         the generation engine failed
│   └── PolicyMismatchError  the engine does not hold the policy that the trainer has
├── DiskError           what a run keeps can't be written: the disk is full, say; what was written before is whole
│   └── StoreError      rollouts
├── HubError            an upload failed; what was to be uploaded lies on the disk
├── NonFiniteError      a loss, a gradient or a weight is NaN or infinite
└── RunDirectoryError   a run directory is of another run, schema or process; exit code 2
"""

from __future__ import annotations

import errno

DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""What an `OSError` says of a disk that takes no more."""


class RlcodeError(Exception):
    """Root of the tree. `exit_code` is what a command ends with."""

    exit_code = 1


class InputError(RlcodeError):
    exit_code = 2


class ConfigError(InputError):
    pass


class DataError(InputError):
    pass


class ShadowedPackageError(InputError):
    pass


class SandboxError(RlcodeError):
    pass


class SandboxUnavailableError(SandboxError):
    exit_code = 2


class ExtractionError(RlcodeError):
    pass


class EngineError(RlcodeError):
    pass


class PolicyMismatchError(EngineError):
    pass


class DiskError(RlcodeError):
    pass


class StoreError(DiskError):
    pass


class HubError(RlcodeError):
    pass


class NonFiniteError(RlcodeError):
    pass


class RunDirectoryError(RlcodeError):
    exit_code = 2
