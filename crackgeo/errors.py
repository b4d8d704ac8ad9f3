"""Errors a user can act on: what happened, where, and what to do about it.

Each class carries the exit code that the command line gives for it.
"""

from __future__ import annotations


class CrackgeoError(Exception):
    """Base of all errors that crackgeo raises on purpose.

    Parameters
    ----------
    message : what is wrong and where ("survey.tif: band 7 asked for, the raster has 3")
    remedy : what the user can do, as a phrase ("choose bands with --bands 1,2,3")
    """

    exit_code = 1
    kind = "error"

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message


class UsageError(CrackgeoError):
    """Options that contradict each other or make no sense."""

    exit_code = 2
    kind = "usage"


class InputError(CrackgeoError):
    """An input that is missing, broken, or not what it should be."""

    exit_code = 3
    kind = "input"


class OwnResult(InputError):
    """Something that crackgeo made, where imagery is wanted."""


class ResourceError(CrackgeoError):
    """Out of memory or disk, or an output that cannot be written."""

    exit_code = 4
    kind = "resource"


class ModelError(CrackgeoError):
    """A model that is unknown, broken, or does not fit."""

    exit_code = 5
    kind = "model"


class Cancelled(CrackgeoError):
    """The user asked to stop."""

    exit_code = 130
    kind = "cancelled"

    def __init__(self, message: str = "stopped by the user", remedy: str = "") -> None:
        super().__init__(message, remedy)
