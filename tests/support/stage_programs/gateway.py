"""A gateway without gRPC: reports what it is told to a test, and asks for what the test says."""

from __future__ import annotations

import argparse
import socket
import sys
import threading

import msgspec

from inferd.core.link.messages import (
    AddInstance,
    DeploymentDrained,
    DrainGateway,
    FromGateway,
    InstanceAttached,
    ListenFailed,
    Listening,
    PublishModel,
    Settle,
    Settled,
    StartGateway,
    ToGateway,
)
from inferd.core.link.sockets import MessageSocket, PeerGone, adopt
from inferd.core.process import die_with_parent

TAKEN = "127.0.0.1:1"
"""The address at which this one cannot listen."""


def main() -> int:
    """Follow the supervisor until it drains us or goes; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mirror", required=True)
    parser.add_argument("--name", default="gateway")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    die_with_parent(options.parent)
    control: MessageSocket[FromGateway, ToGateway]
    control = MessageSocket(adopt(options.control_fd), ToGateway)
    mirror = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mirror.connect(options.mirror)
    mirror.send(options.name.encode())
    threading.Thread(target=_ask, args=(mirror, control), daemon=True).start()
    encode = msgspec.msgpack.Encoder().encode
    named: dict[str, set[int]] = {}
    kept: list[int] = []
    try:
        while True:
            message, fds = control.receive_with_fds()
            kept += fds
            mirror.send(encode(message))
            match message:
                case StartGateway(address) if address == TAKEN:
                    control.send(ListenFailed("address already in use"))
                    return 1
                case StartGateway(address, http=http):
                    bound = None if http is None else http.replace(":0", ":4243")
                    control.send(Listening(address.replace(":0", ":4242"), bound))
                case AddInstance(_, link):
                    control.send(InstanceAttached(link))
                case PublishModel(model, versions):
                    before = named.get(model, set())
                    named[model] = {v.deployment for v in versions if v.deployment is not None}
                    for gone in sorted(before - named[model]):
                        control.send(DeploymentDrained(gone))
                case Settle(number):
                    control.send(Settled(number))
                case DrainGateway():
                    return 0
    except PeerGone:
        return 0


def _ask(mirror: socket.socket, control: MessageSocket[FromGateway, ToGateway]) -> None:
    decoder = msgspec.msgpack.Decoder(FromGateway)
    while data := mirror.recv(1 << 16):
        control.send(decoder.decode(data))


if __name__ == "__main__":
    sys.exit(main())
