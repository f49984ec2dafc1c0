"""Trace and log settings: told as they are; the operator's to change, not clients'."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from inferd.protos import oip_pb2 as oip
from inferd.server.gateway.routing.table import RoutingTable
from inferd.server.gateway.rpc.call import UnaryCall
from inferd.server.gateway.rpc.services.decoding import decode
from inferd.wire.errors import Forbidden, Unimplemented

_NO_TRACES = {
    "trace_file": "",
    "trace_level": "OFF",
    "trace_rate": "0",
    "trace_count": "0",
    "log_frequency": "0",
}


class RuntimeSettings:
    """Answers what clients ask about traces and logs."""

    def __init__(self, table: RoutingTable) -> None:
        """`table` knows the models that may be asked about."""
        self._table = table

    def methods(self) -> Mapping[str, Callable[[UnaryCall], None]]:
        """The handlers by the method's name."""
        return {"TraceSetting": self._trace, "LogSettings": _logs}

    def _trace(self, call: UnaryCall) -> None:
        request = decode(oip.TraceSettingRequest, call.payload)
        if request.model_name:
            self._table.resolve(request.model_name, "")
        if request.settings:
            raise Unimplemented(
                f"'{min(request.settings)[:64]}' cannot be set: this server writes no traces; "
                "its statistics and log tell what it does"
            )
        response = oip.TraceSettingResponse()
        for key, value in _NO_TRACES.items():
            response.settings[key].value.append(value)
        call.reply(response.SerializeToString())


def _logs(call: UnaryCall) -> None:
    request = decode(oip.LogSettingsRequest, call.payload)
    if request.settings:
        raise Forbidden(
            f"'{min(request.settings)[:64]}' cannot be set by clients: the operator says what is "
            "logged, with log_level and log_format, when the server starts"
        )
    level = logging.getLogger().getEffectiveLevel()
    response = oip.LogSettingsResponse()
    response.settings["log_file"].string_param = ""  # it goes to standard error
    response.settings["log_info"].bool_param = level <= logging.INFO
    response.settings["log_warning"].bool_param = level <= logging.WARNING
    response.settings["log_error"].bool_param = level <= logging.ERROR
    response.settings["log_verbose_level"].uint32_param = int(level <= logging.DEBUG)
    call.reply(response.SerializeToString())
