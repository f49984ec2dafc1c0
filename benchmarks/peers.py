"""Set peers up to compare with, each in an environment of its own, and say which are there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from contenders.environment import Environment, InstallError, share_torch
from contenders.peer_file import PeerFile, all_peers

EXAMPLES = """\
examples:
  .venv/bin/python benchmarks/peers.py list
  .venv/bin/python benchmarks/peers.py install triton mosec
  .venv/bin/python benchmarks/peers.py install all
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """List or install; 0 if everything asked for is there afterwards."""
    peers = all_peers()
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="what is installed, and what is missing and why")
    install = verbs.add_parser("install", help="make the environments of these peers anew")
    install.add_argument("names", nargs="+", choices=[*peers, "all"], metavar="NAME")
    given = parser.parse_args(arguments)
    if given.verb == "list":
        for peer in peers.values():
            print(f"{peer.name:12} {_state(peer)}")
        return 0
    names = list(peers) if "all" in given.names else list(dict.fromkeys(given.names))
    return install_all([peers[name] for name in names])


def install_all(peers: Sequence[PeerFile]) -> int:
    """Install one after another; one that fails is told and does not keep the others."""
    failed = 0
    for peer in peers:
        print(f"{peer.name}: installing", flush=True)
        try:
            share_torch()
            Environment(peer).install()
        except InstallError as error:
            failed += 1
            print(f"{peer.name}: {error}", file=sys.stderr)
        print(f"{peer.name}: {_state(peer)}", flush=True)
    return 1 if failed else 0


def _state(peer: PeerFile) -> str:
    environment = Environment(peer)
    missing = environment.missing()
    return f"{peer.package} {environment.version()}" if missing is None else f"missing: {missing}"


if __name__ == "__main__":
    sys.exit(main())
