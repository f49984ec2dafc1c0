"""Errors that nobody foresaw, and doors that cannot be opened."""

from __future__ import annotations

from time import time

from inferd.core.telemetry.logs import get_logger
from inferd.wire.errors import Unexpected

_log = get_logger(__name__)


class DoorError(RuntimeError):
    """The door cannot be opened: the text says why, and what to do."""


def unexpected(error: BaseException, method: str, **fields: str) -> Unexpected:
    """Log an error that nobody foresaw, in full and with these fields; the caller gets its id only."""
    error_id = f"{id(error) & 0xFFFFFFFF:08x}-{int(time() * 1000) & 0xFFFFFF:06x}"
    _log.error("unexpected error", method=method, error_id=error_id, exc_info=error, **fields)
    return Unexpected(f"an unexpected error was logged under id {error_id}")
