"""A door and nothing behind it: prints its address, answers until its standard input ends."""

from __future__ import annotations

import sys

from inferd.server.gateway.rpc.completion_queue.polling import read_sockets_in_the_loop

read_sockets_in_the_loop()

from inferd.server.gateway.rpc.call import Unary, UnaryCall  # noqa: E402
from inferd.server.gateway.rpc.completion_queue.door import CompletionQueueDoor  # noqa: E402


def echo(call: UnaryCall) -> None:
    """Give the caller its own bytes."""
    call.reply(call.payload)


def main() -> int:
    """Serve."""
    door = CompletionQueueDoor({"/cost.Door/Echo": Unary(echo)}, max_message_bytes=64 << 20)
    print(door.bind("127.0.0.1:0"), flush=True)
    door.start()
    sys.stdin.read()
    door.drain(5.0)
    door.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
