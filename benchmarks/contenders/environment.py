"""A peer's own virtual environment below `.peers/`; all of them share one torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from contenders.peer_file import BENCHMARKS, PeerFile

ENVIRONMENTS = BENCHMARKS / ".peers"
TORCH = "torch==2.13.0"

_TORCH_FOLDER = ENVIRONMENTS / "torch"
_STAMP = "installed"
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet")
_ERROR_TAIL = 1500


class InstallError(RuntimeError):
    """A peer cannot be set up; the text has the last words of whoever failed."""


class Environment:
    """Where a peer's packages are; `missing` tells why they are not."""

    def __init__(self, peer: PeerFile) -> None:
        self.folder = ENVIRONMENTS / peer.name
        self.python = self.folder / "bin" / "python"
        self._peer = peer

    def install(self) -> None:
        """Make the environment anew. Raises `InstallError`, and leaves it marked as missing."""
        shutil.rmtree(self.folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(self.folder)])
        # At the end of sys.path: what a peer brings itself goes before the shared packages.
        shared = f"{_TORCH_FOLDER}\n{BENCHMARKS}\n"
        (self._site_packages() / "inferd-bench.pth").write_text(shared)
        requirements = self._peer.folder / "requirements.txt"
        _run([str(self.python), *_PIP, "--requirement", str(requirements)])
        for command in self._peer.after_install:
            _run([self.fill(each) for each in command])
        (self.folder / _STAMP).write_text(requirements.read_text())

    def missing(self) -> str | None:
        """Why the peer cannot be started here; None if it can."""
        absent = [name for name in self._peer.needs if shutil.which(name) is None]
        if absent:
            return f"needs {', '.join(absent)} on the PATH"
        stamp = self.folder / _STAMP
        install = f"run: benchmarks/peers.py install {self._peer.name}"
        if not stamp.exists():
            return f"not installed; {install}"
        if stamp.read_text() != (self._peer.folder / "requirements.txt").read_text():
            return f"installed with other requirements; {install}"
        return None

    def version(self) -> str:
        """Of the peer's main package, as its environment has it; `unknown` if it does not say."""
        code = f"import importlib.metadata as m; print(m.version({self._peer.package!r}))"
        done = subprocess.run(
            [str(self.python), "-c", code], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() or "unknown"

    def fill(self, text: str, **more: object) -> str:
        """`text` with its placeholders replaced."""
        known: dict[str, object] = {
            "python": self.python,
            "env": self.folder,
            "folder": self._peer.folder,
            "benchmarks": BENCHMARKS,
            "library_path": sysconfig.get_config_var("LIBDIR"),
        }
        return text.format(**known, **more)

    def _site_packages(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"


def share_torch() -> None:
    """Install the torch that all environments see, unless it is there. Raises `InstallError`."""
    if _TORCH_FOLDER.exists():
        return
    ENVIRONMENTS.mkdir(exist_ok=True)
    partial = ENVIRONMENTS / "torch.partial"
    shutil.rmtree(partial, ignore_errors=True)
    _run([sys.executable, *_PIP, "--target", str(partial), TORCH])
    partial.rename(_TORCH_FOLDER)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-_ERROR_TAIL:]
        raise InstallError(f"{' '.join(command)} ended with code {done.returncode}: {words}")
