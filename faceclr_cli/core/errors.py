"""The exceptions of faceclr, and their exit codes.

::

    FaceclrError                     70   base class, never raised; also the exit code of an internal error
    ├── ConfigError                   2   usage or configuration
    ├── DataError                     3   input is missing, unreadable or unusable
    │   ├── UnreadableImageError          a file that cannot be decoded as a picture
    │   ├── NoFaceError                   a picture without a detectable face
    │   ├── FingerprintError              two artifacts with different preprocessing
    │   └── TooManyBadFilesError          more bad files than `max_bad` allows
    ├── ModelError                    4   a model or checkpoint is missing, damaged, incompatible or diverged
    ├── LockedError                  75   another run is writing to the same output
    └── StoppedError                      a signal stopped the run, after a checkpoint if there is one
        ├── InterruptedRunError     130   SIGINT (Ctrl-C)
        └── TerminatedRunError      143   SIGTERM

Messages are one or two lines: what is wrong, where, and what to do.
"""

from __future__ import annotations

from typing import Any, Protocol


class FaceclrError(Exception):
    """Base class of all exceptions of faceclr."""

    # EX_SOFTWARE of sysexits.h. Not 1, which verify returns for different people.
    exit_code = 70


class ConfigError(FaceclrError):
    """The command line, the environment or the configuration is invalid."""

    exit_code = 2


class DataError(FaceclrError):
    """Input is missing, unreadable or unusable."""

    exit_code = 3


class UnreadableImageError(DataError):
    """A file cannot be decoded as a picture."""


class NoFaceError(DataError):
    """The detector finds no face in a picture."""


class FingerprintError(DataError):
    """Two artifacts were preprocessed differently and cannot be compared."""


class Result(Protocol):
    """The result of a command."""

    def to_json(self) -> dict[str, Any]:
        """Returns the result as a JSON object."""
        ...


class TooManyBadFilesError(DataError):
    """The work is complete, but more files failed than `max_bad` allows.

    Attributes:
        result: The result of the work.
    """

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


class ModelError(FaceclrError):
    """A model or checkpoint is missing, damaged or incompatible, or its training diverged."""

    exit_code = 4


class LockedError(FaceclrError):
    """Another run has locked the same output (`EX_TEMPFAIL` of sysexits.h)."""

    exit_code = 75


class StoppedError(FaceclrError):
    """A signal stopped the run."""


class InterruptedRunError(StoppedError):
    """The user pressed Ctrl-C (SIGINT)."""

    exit_code = 130


class TerminatedRunError(StoppedError):
    """The process received SIGTERM."""

    exit_code = 143
