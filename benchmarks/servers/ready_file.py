"""How a server tells the process that started it where it listens."""

from __future__ import annotations

import json
import os
from pathlib import Path


def write_ready_file(path: Path, address: str) -> None:
    """Write what `inferd serve --ready-file` writes; the file appears whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"grpc": address, "pid": os.getpid()}))
    partial.replace(path)
