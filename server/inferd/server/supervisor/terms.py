"""What settings mean for the parts of the server."""

from __future__ import annotations

from inferd.core.link.messages import StartGateway
from inferd.core.settings import Settings
from inferd.server.supervisor.library import LibraryTerms
from inferd.server.supervisor.replicas.devices import Machine
from inferd.server.supervisor.replicas.replica import WorkerTerms

DRAIN_MARGIN = 5.0
"""Seconds beyond the longest request that a deployment being replaced may take to empty."""


def start_of(settings: Settings) -> StartGateway:
    """What every gateway is told first."""
    return StartGateway(
        address=str(settings.grpc),
        max_message_bytes=settings.max_message_bytes,
        max_request_time=settings.max_request_time,
        max_arena_bytes=settings.max_arena_bytes,
        repository_control=settings.may_control_repository,
        door=settings.door,
        http=None if settings.http is None else str(settings.http),
        client_shared_memory=settings.client_shared_memory,
        tracing=settings.tracing,
        trace_sampling=settings.trace_sampling,
        access_log=settings.access_log,
    )


def library_terms(
    settings: Settings, machine: Machine, workers: WorkerTerms, *, gateways: int
) -> LibraryTerms:
    """What the operator set for models, with this many gateways."""
    return LibraryTerms(
        paths=settings.models,
        override=settings.override,
        devices=settings.devices,
        machine=machine,
        workers=workers,
        parallel_loads=settings.parallel_loads,
        drain_bound=settings.max_request_time + DRAIN_MARGIN,
        gateways=gateways,
    )
