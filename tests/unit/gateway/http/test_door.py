"""What a gateway pays for HTTP that it does not speak, and for HTTP that nobody uses."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from support.gateway import GatewayUnderTest
from support.http import ask


def test_a_gateway_without_http_does_not_load_it() -> None:
    """Its libraries are imported only where a door for it is made."""
    code = (
        "import sys, inferd.server.gateway.app;"
        "print(*{'uvicorn', 'starlette', 'httptools'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == []


def test_a_door_that_nobody_uses_sleeps() -> None:
    """Its thread does not wake up, not even for uvicorn's tick, ten times a second."""
    with GatewayUnderTest(http=True) as gateway:
        assert ask(gateway.http, "/v2/health/live").status == 200
        (thread,) = [each for each in threading.enumerate() if each.name == "http"]
        assert thread.native_id is not None
        before = _switches(thread.native_id)
        threading.Event().wait(0.5)
        # The tick would make five; a connection that closes late makes one or two.
        assert _switches(thread.native_id) - before <= 3


def _switches(thread: int) -> int:
    status = Path(f"/proc/self/task/{thread}/status").read_text()
    return sum(
        int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt")
    )
