"""The file that tells scripts that the server is ready, and where."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_PREFIX = ".ready-"


class ReadyFile:
    """A JSON object, there while the server is ready.

    Such as `{"grpc": "127.0.0.1:8001", "http": "127.0.0.1:8000", "ops": "127.0.0.1:8002", "pid": 42}`.
    Without a path nothing is written. Appears whole or not at all; removed on leaving the context,
    unless another server has put its own there meanwhile.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._text: str | None = None

    def check(self) -> None:
        """Try whether it could be written. Raises `OSError`."""
        if self._path is None:
            return
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        with tempfile.NamedTemporaryFile(prefix=_PREFIX, dir=self._path.parent):
            pass

    def clear(self) -> None:
        """Remove what a server that was killed has left, or scripts would take it for ours."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()

    def write(self, grpc: str, http: str | None = None, ops: str | None = None) -> None:
        """Say where this process listens, None where it does not. Raises `OSError`."""
        if self._path is None:
            return
        self._text = json.dumps({"grpc": grpc, "http": http, "ops": ops, "pid": os.getpid()}) + "\n"
        # Beside its destination, so that the last step is a rename.
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=self._path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(self._text)
            whole = Path(name)
            whole.chmod(0o644)
            whole.replace(self._path)
        except BaseException:
            Path(name).unlink()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._path is not None and self._text is not None:
            with suppress(OSError):
                if self._path.read_text() == self._text:
                    self._path.unlink()
