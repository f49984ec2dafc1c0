"""How this client's gRPC channels are set up: address, sizes, keepalive, retries."""

from __future__ import annotations

import json

from inferd.client.target import Target
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


SEVERAL_AT_ONE = ("grpc.use_local_subchannel_pool", 1)
"""Channels to one server share a connection, unless each is told to have its own."""

_ROUND_ROBIN = {"round_robin": dict[str, object]()}


def channel_options(
    target: Target | None = None, *, retries: bool, connections: int = 1
) -> ChannelOptions:
    """The options of a channel: retries and balancing go into its service config.

    Raises `ValueError` for less than one connection.
    """
    if connections < 1:
        raise ValueError(f"connections={connections}: expected 1 or more")
    config: dict[str, object] = {}
    options = [*SIZES, *KEEPALIVE]
    if target is not None and target.several:
        config["loadBalancingConfig"] = [_ROUND_ROBIN]
    if target is not None and target.authority is not None:
        options.append(("grpc.default_authority", target.authority))
    if connections > 1:
        options.append(SEVERAL_AT_ONE)
    if retries:
        names = [{"service": INFERENCE_SERVICE}]
        config["methodConfig"] = [{"name": names, "retryPolicy": RETRY_POLICY}]
        config["retryThrottling"] = RETRY_THROTTLING
        options.append(("grpc.per_rpc_retry_buffer_size", RETRY_BUFFER_BYTES))
    options.append(("grpc.enable_retries", int(retries)))
    if config:
        options.append(("grpc.service_config", json.dumps(config)))
    return options
