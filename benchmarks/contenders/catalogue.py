"""Who is measured: one line per contender of ours, and every folder of `peers/`."""

from __future__ import annotations

from contenders.bare import Bare
from contenders.contender import Contender
from contenders.ours import SUBJECT, TWO_GATEWAYS, Inferd, Own
from contenders.peer import Peer
from contenders.peer_file import all_peers

ONLY_IF_NAMED = frozenset({TWO_GATEWAYS})
"""Contenders that `--contender` must name: they make sense where processes are not pinned."""

_SMALL = ("linear-64", "linear-1")
_PEERS_ORDER = ("triton", "pytriton", "torchserve", "mosec")


def all_contenders() -> dict[str, Contender]:
    """By name, in the order of the tables. Raises `PeerFileError`."""
    ours: list[Contender] = [
        Inferd(SUBJECT, "supervisor, gateway and one worker", "defaults"),
        Inferd(
            TWO_GATEWAYS,
            "the same with two gateways",
            "--gateways 2",
            options=("--gateways", "2"),
        ),
        Bare(),
        Own(
            "prototype",
            "servers.prototype.gateway",
            "the least of inferd's design: completion queue, shared slots, one worker process",
            "greedy batches; no checks, deadlines, statistics or errors; sockets are read and the "
            "allocator is set as in inferd",
            roles={"gateway": "servers.prototype.gateway", "worker": "servers.prototype.worker"},
        ),
        Own(
            "aio",
            "servers.aio",
            "grpc.aio with the model in the process, as one would write it first",
            "no batching",
        ),
        Own(
            "threaded",
            "servers.threaded",
            "grpcio's threaded server with the model in the process",
            "no batching, 10 threads",
        ),
        Own("aio-echo", "servers.aio", "the same, no model", "-", scenarios=_SMALL, echo=True),
        Own(
            "threaded-echo",
            "servers.threaded",
            "the same, no model",
            "-",
            scenarios=_SMALL,
            echo=True,
        ),
    ]
    files = all_peers()
    first = [name for name in _PEERS_ORDER if name in files]
    rest = [name for name in files if name not in first]
    contenders = [*ours, *(Peer(files[name]) for name in (*first, *rest))]
    return {each.name: each for each in contenders}
