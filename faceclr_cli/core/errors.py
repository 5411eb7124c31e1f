"""What can go wrong, and the exit code that a shell sees for it.

::

    FaceclrError                     70   never raised itself; also what a defect of faceclr ends with
    ├── ConfigError                   2   usage or configuration
    ├── DataError                     3   what was read is missing, unreadable or unusable
    │   ├── UnreadableImageError          a picture that cannot be decoded
    │   ├── NoFaceError                   a picture in which no face was found
    │   ├── FingerprintError              two artifacts were preprocessed differently
    │   └── TooManyBadFilesError          more bad files than `max_bad` allows
    ├── ModelError                    4   model or checkpoint: missing, damaged, foreign, or diverged
    ├── LockedError                  75   another run is writing the same output
    └── StoppedError                      a signal ended the run, after a checkpoint where there is one
        ├── InterruptedRunError     130   SIGINT (Ctrl-C)
        └── TerminatedRunError      143   SIGTERM

A message is one or two lines: what is wrong, where, and what to do.
"""

from __future__ import annotations

from typing import Any, Protocol


class FaceclrError(Exception):
    """The root of every error that faceclr raises on purpose."""

    # EX_SOFTWARE of sysexits.h. Not 1: that is verify's word for "different people".
    exit_code = 70


class ConfigError(FaceclrError):
    """The command line, the environment or the configuration asks for something impossible."""

    exit_code = 2


class DataError(FaceclrError):
    """Input is missing, unreadable or unusable."""

    exit_code = 3


class UnreadableImageError(DataError):
    """A file is not a picture that can be decoded."""


class NoFaceError(DataError):
    """A picture shows no face that the detector finds."""


class FingerprintError(DataError):
    """Two artifacts were preprocessed differently, so comparing them would mean nothing."""


class Result(Protocol):
    """What a command of the core gives back."""

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        ...


class TooManyBadFilesError(DataError):
    """The work was finished, but more files failed than the user allows.

    Attributes:
        result: What the work came to.
    """

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


class ModelError(FaceclrError):
    """A model or checkpoint is missing, damaged or foreign, or its training diverged."""

    exit_code = 4


class LockedError(FaceclrError):
    """Another run holds the lock on the same output (`EX_TEMPFAIL` of sysexits.h)."""

    exit_code = 75


class StoppedError(FaceclrError):
    """A signal ended the run."""


class InterruptedRunError(StoppedError):
    """Ctrl-C."""

    exit_code = 130


class TerminatedRunError(StoppedError):
    """SIGTERM."""

    exit_code = 143
