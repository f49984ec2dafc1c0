"""What every door tells gRPC's core about messages and connections."""

from __future__ import annotations


def server_options(max_message_bytes: int, *, share_port: bool) -> tuple[tuple[str, int], ...]:
    """The core's channel arguments of a server that takes messages up to this size.

    With `share_port` several processes may listen at one address, each getting its share.
    """
    return (
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", int(share_port)),
        # The default of 16 KiB cuts a large tensor into a thousand frames.
        ("grpc.http2.max_frame_size", 1 << 20),
        ("grpc.server_handshake_timeout_ms", 5_000),
        # Clients ping every 10 s during long inferences; the default counts it as abuse.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    )
