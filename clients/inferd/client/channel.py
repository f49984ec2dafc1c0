"""How this client's gRPC channels are set up: address, sizes, keepalive, retries."""

from __future__ import annotations

import json

from inferd.protos.services import INFERENCE_SERVICE

ChannelOptions = list[tuple[str, int | str]]

SIZES: ChannelOptions = [
    ("grpc.max_send_message_length", -1),  # the server's limit decides, with a message that says so
    ("grpc.max_receive_message_length", -1),
]

KEEPALIVE: ChannelOptions = [
    # A dead peer is noticed within 40 s of a call; the server allows a ping every 10 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A restarted server is found again within seconds; the default waits for up to 2 minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]

RETRY_POLICY = {
    "maxAttempts": 3,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    # Never RESOURCE_EXHAUSTED: a retry would feed the overload.
    "retryableStatusCodes": ["UNAVAILABLE"],
}

RETRY_THROTTLING = {"maxTokens": 10, "tokenRatio": 0.1}

RETRY_BUFFER_BYTES = 1 << 30
"""Of one call; gRPC's default of 256 KB silently never retries a larger request."""


def channel_options(*, retries: bool) -> ChannelOptions:
    """The options of a channel, with the retry policy as its service config or without retries."""
    if not retries:
        return [*SIZES, *KEEPALIVE, ("grpc.enable_retries", 0)]
    config = {
        "methodConfig": [{"name": [{"service": INFERENCE_SERVICE}], "retryPolicy": RETRY_POLICY}],
        "retryThrottling": RETRY_THROTTLING,
    }
    return [
        *SIZES,
        *KEEPALIVE,
        ("grpc.enable_retries", 1),
        ("grpc.per_rpc_retry_buffer_size", RETRY_BUFFER_BYTES),
        ("grpc.service_config", json.dumps(config)),
    ]


def target_of(address: str) -> str:
    """The gRPC target for `HOST:PORT`, `grpc://HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`.

    Raises `ValueError` for anything else, saying what an address looks like.
    """
    target = address.removeprefix("grpc://").rstrip("/")
    if target.startswith(("unix:", "dns:", "ipv4:", "ipv6:")):
        return target
    host, colon, port = target.rpartition(":")
    plain = colon and host and "/" not in host and (":" not in host or host.startswith("["))
    if not plain or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is no address; give HOST:PORT, such as 'localhost:8001'")
    return target
