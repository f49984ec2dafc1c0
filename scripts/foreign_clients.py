"""Set up other people's clients, each in an environment of its own, and say which are there.

The tests in tests/integration/server/test_foreign_clients.py call a server with them, unmodified;
a client that is not set up is skipped there.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[1]
ENVIRONMENTS = HOUSE / "tests" / ".built" / "clients"
STAMP = "installed"
"""File in an environment that is complete: what it was made of."""

_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
_ERROR_TAIL = 1500

EXAMPLES = """\
examples:
  .venv/bin/python scripts/foreign_clients.py list
  .venv/bin/python scripts/foreign_clients.py install perf_analyzer buf
  .venv/bin/python scripts/foreign_clients.py install all
"""


class InstallError(RuntimeError):
    """A client cannot be set up; the text has the last words of whoever failed."""


@dataclass(frozen=True, slots=True)
class ForeignClient:
    """A client: what is installed (with versions), by what, and what it needs on the PATH."""

    packages: tuple[str, ...]
    install: Callable[[Path, Sequence[str]], None]
    needs: tuple[str, ...] = ()
    constraints: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """List or install; 0 if everything asked for is there afterwards."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="what is set up, and what is missing and why")
    install = verbs.add_parser("install", help="make the environments of these clients anew")
    install.add_argument("names", nargs="+", choices=[*CLIENTS, "all"], metavar="NAME")
    given = parser.parse_args(arguments)
    if given.verb == "list":
        for name in CLIENTS:
            print(f"{name:14} {missing(name) or ' '.join(CLIENTS[name].packages)}")
        return 0
    names = list(CLIENTS) if "all" in given.names else list(dict.fromkeys(given.names))
    return max([_set_up(name) for name in names])


def missing(name: str) -> str | None:
    """Why the client cannot be run here; None if it can."""
    stamp = ENVIRONMENTS / name / STAMP
    install = f"run: scripts/foreign_clients.py install {name}"
    if not stamp.exists():
        return f"not set up; {install}"
    if stamp.read_text() != _stamp(CLIENTS[name]):
        return f"set up with other versions; {install}"
    return None


def _set_up(name: str) -> int:
    client, folder = CLIENTS[name], ENVIRONMENTS / name
    print(f"{name}: {' '.join(client.packages)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    absent = [tool for tool in client.needs if shutil.which(tool) is None]
    if absent:
        print(f"{name}: needs {', '.join(absent)} on the PATH", file=sys.stderr)
        return 1
    folder.mkdir(parents=True)
    pins = () if client.constraints is None else ("--constraint", str(client.constraints))
    try:
        client.install(folder, (*client.packages, *pins))
    except InstallError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    (folder / STAMP).write_text(_stamp(client))
    return 0


def _with_pip(folder: Path, packages: Sequence[str]) -> None:
    _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(folder / "bin" / "python"), *_PIP, "install", *packages])


def _with_npm(folder: Path, packages: Sequence[str]) -> None:
    # A package.json of its own: npm would look for one in the folders above.
    (folder / "package.json").write_text('{"private": true}\n')
    _run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *packages])


def _from_wheels(folder: Path, packages: Sequence[str]) -> None:
    """Unpack wheels without their dependencies: of perf_analyzer's, only the program is wanted."""
    only = ["--no-deps", "--only-binary=:all:"]
    for platform in ("manylinux1_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"):
        only += ["--platform", platform]
    _run([sys.executable, *_PIP, "download", *only, "--dest", str(folder), *packages])
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()
    for program in folder.glob("*.data/data/bin/*"):
        program.chmod(0o755)


def _perf_analyzer(folder: Path, packages: Sequence[str]) -> None:
    """The program out of tritonclient's wheel, with the libraries that it is linked with."""
    _from_wheels(folder, packages)
    # Debian's package goes in here instead of into the system: that needs no root.
    _run(["apt-get", "download", "libb64-0d"], folder)
    (package,) = folder.glob("libb64-0d_*.deb")
    _run(["dpkg-deb", "--extract", str(package), str(folder / "debian")])
    libraries = folder / "lib"
    libraries.mkdir()
    for pattern in ("debian/usr/lib/*/libb64.so.*", "nvidia/cuda_runtime/lib/*.so*"):
        for file in folder.glob(pattern):
            (libraries / file.name).symlink_to(file)


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-_ERROR_TAIL:]
        raise InstallError(f"{' '.join(command)} ended with code {done.returncode}: {words}")


def _stamp(client: ForeignClient) -> str:
    return "\n".join(client.packages) + "\n"


_PEERS = HOUSE / "benchmarks" / "peers"

CLIENTS: Mapping[str, ForeignClient] = {
    # The newest one whose perf_analyzer starts on Debian 12; later ones come without it.
    "perf_analyzer": ForeignClient(
        ("tritonclient==2.51.0", "nvidia-cuda-runtime-cu12==12.9.79"),
        _perf_analyzer,
        needs=("apt-get", "dpkg-deb"),
    ),
    "kserve": ForeignClient(
        ("kserve==0.21.0",), _with_pip, constraints=_PEERS / "kserve" / "constraints.txt"
    ),
    "mlserver": ForeignClient(
        ("mlserver==1.7.1",), _with_pip, constraints=_PEERS / "mlserver" / "constraints.txt"
    ),
    "buf": ForeignClient(("@bufbuild/buf@1.75.0",), _with_npm, needs=("npm", "node")),
}
"""By name. tritonclient is in the environment of the tests; grpc-js comes with the Node sample."""


if __name__ == "__main__":
    sys.exit(main())
