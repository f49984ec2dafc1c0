"""CUDA shared memory, traces and logs: told truthfully, changed by nobody."""

from __future__ import annotations

import logging

import grpc
import pytest
import tritonclient.grpc as triton

from inferd.protos import oip_pb2 as oip
from support.calls import ROWS, call
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker


def test_there_are_no_traces(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """For the server, for a model; nobody finds settings of a model that is not there."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    with triton.InferenceServerClient(gateway.address) as client:
        for model in (None, "m"):
            settings = client.get_trace_settings(model).settings
            assert list(settings["trace_level"].value) == ["OFF"]
    payload = oip.TraceSettingRequest(model_name="n").SerializeToString()
    assert call(channel, payload, "TraceSetting").reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(("level", "expected"), [
    (logging.DEBUG, (1, True, True, True)),
    (logging.WARNING, (0, False, True, True)),
    (logging.ERROR, (0, False, False, True)),
])  # fmt: skip
def test_log_settings_are_those_in_force(
    gateway: GatewayUnderTest, level: int, expected: tuple[int, bool, bool, bool]
) -> None:
    """What the operator set is what clients read."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(level)
    try:
        with triton.InferenceServerClient(gateway.address) as client:
            settings = client.get_log_settings().settings
    finally:
        root.setLevel(before)
    found = (
        settings["log_verbose_level"].uint32_param,
        *(settings[key].bool_param for key in ("log_info", "log_warning", "log_error")),
    )
    assert found == expected
    assert settings["log_file"].string_param == ""


def test_settings_are_not_clients_to_change(channel: grpc.Channel) -> None:
    """Each refusal names the setting and says why; clearing one is a change, too."""
    traces = oip.TraceSettingRequest()
    traces.settings["trace_level"].value.append("TIMESTAMPS")
    outcome = call(channel, traces.SerializeToString(), "TraceSetting")
    assert (outcome.code.name, "'trace_level'" in outcome.message) == ("UNIMPLEMENTED", True)
    cleared = oip.TraceSettingRequest()
    cleared.settings["trace_file"].SetInParent()
    assert call(channel, cleared.SerializeToString(), "TraceSetting").code.name == "UNIMPLEMENTED"
    logs = oip.LogSettingsRequest()
    logs.settings["log_info"].bool_param = False
    outcome = call(channel, logs.SerializeToString(), "LogSettings")
    assert (outcome.code.name, "'log_info'" in outcome.message) == ("PERMISSION_DENIED", True)
    assert "log_level" in outcome.message


def test_there_is_no_cuda_shared_memory(channel: grpc.Channel) -> None:
    """Its status is empty, unregistering everything works, and the rest is not offered."""
    assert call(channel, b"", "CudaSharedMemoryStatus").payload == b""
    assert call(channel, b"", "CudaSharedMemoryUnregister").code is grpc.StatusCode.OK
    one = oip.CudaSharedMemoryStatusRequest(name="r").SerializeToString()
    for method in ("Status", "Register", "Unregister"):
        outcome = call(channel, one, f"CudaSharedMemory{method}")
        assert outcome.code.name == "UNIMPLEMENTED"
        assert "gateways use no GPU" in outcome.message
