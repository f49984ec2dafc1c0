"""The six RPCs about shared memory: that of the machine where the operator allows it, none of CUDA."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from inferd.protos import oip_pb2 as oip
from inferd.server.gateway.admission.regions import NO_SHARED_MEMORY, Regions
from inferd.server.gateway.commands import Commands
from inferd.server.gateway.rpc.call import UnaryCall
from inferd.server.gateway.rpc.services.decoding import decode
from inferd.wire.errors import Forbidden, ServingError, Unimplemented

EXTENSION = "system_shared_memory"
"""Announced where it is switched on."""


class SharedMemoryService:
    """Registers by way of the supervisor, so that every gateway knows; answers from here."""

    def __init__(self, regions: Regions, commands: Commands, *, allowed: bool) -> None:
        """`allowed` is the operator's word."""
        self._regions = regions
        self._commands = commands
        self._allowed = allowed

    @property
    def extensions(self) -> tuple[str, ...]:
        """What clients are told that it can do."""
        return (EXTENSION,) if self._allowed else ()

    def methods(self) -> Mapping[str, Callable[[UnaryCall], None]]:
        """The handlers by the method's name."""
        return {
            "SystemSharedMemoryStatus": self._status,
            "SystemSharedMemoryRegister": self._register,
            "SystemSharedMemoryUnregister": self._unregister,
            "CudaSharedMemoryStatus": _cuda_status,
            "CudaSharedMemoryRegister": _cuda_register,
            "CudaSharedMemoryUnregister": _cuda_unregister,
        }

    def _status(self, call: UnaryCall) -> None:
        request = decode(oip.SystemSharedMemoryStatusRequest, call.payload)
        response = oip.SystemSharedMemoryStatusResponse()
        found = [self._regions.find(request.name).what] if request.name else self._regions.all()
        for each in found:
            region = response.regions[each.name]
            region.name, region.key = each.name, each.key
            region.offset, region.byte_size = each.offset, each.nbytes
        call.reply(response.SerializeToString())

    def _register(self, call: UnaryCall) -> None:
        request = decode(oip.SystemSharedMemoryRegisterRequest, call.payload)
        if not self._allowed:
            raise Forbidden(NO_SHARED_MEMORY)
        told = _telling(call, oip.SystemSharedMemoryRegisterResponse().SerializeToString())
        self._commands.register(request.name, request.key, request.offset, request.byte_size, told)

    def _unregister(self, call: UnaryCall) -> None:
        request = decode(oip.SystemSharedMemoryUnregisterRequest, call.payload)
        done = oip.SystemSharedMemoryUnregisterResponse().SerializeToString()
        if self._allowed:
            self._commands.unregister(request.name, _telling(call, done))
        elif request.name:
            raise Forbidden(NO_SHARED_MEMORY)
        else:  # clients begin by unregistering all there is, which is nothing
            call.reply(done)


def _telling(call: UnaryCall, done: bytes) -> Callable[[ServingError | None], None]:
    def told(error: ServingError | None) -> None:
        if error is None:
            call.reply(done)
        else:
            call.fail(error)

    return told


def _cuda_status(call: UnaryCall) -> None:
    request = decode(oip.CudaSharedMemoryStatusRequest, call.payload)
    if request.name:
        raise _no_cuda()
    call.reply(oip.CudaSharedMemoryStatusResponse().SerializeToString())


def _cuda_register(call: UnaryCall) -> None:
    decode(oip.CudaSharedMemoryRegisterRequest, call.payload)
    raise _no_cuda()


def _cuda_unregister(call: UnaryCall) -> None:
    request = decode(oip.CudaSharedMemoryUnregisterRequest, call.payload)
    if request.name:
        raise _no_cuda()
    call.reply(oip.CudaSharedMemoryUnregisterResponse().SerializeToString())


def _no_cuda() -> Unimplemented:
    return Unimplemented(
        "CUDA shared memory is not offered: gateways use no GPU; send tensors in the message"
    )
