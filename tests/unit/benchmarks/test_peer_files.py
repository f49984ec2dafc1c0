"""What peers' folders say is understood, and complete."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from contenders.environment import Environment
from contenders.peer_file import PeerFile, PeerFileError, all_peers, read_peer
from contenders.server import PORTS
from scenarios import SCENARIOS
from wires.exchange import oip, own

from inferd.protos.oip_pb2 import ModelInferRequest, ModelInferResponse

PEERS = all_peers()


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_a_peer_can_be_installed_and_started(peer: PeerFile) -> None:
    """Known workloads, pinned requirements, and no placeholder that nobody fills."""
    assert set(peer.workloads) <= set(SCENARIOS)
    lines = (peer.folder / "requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if line and line[0] not in "#-"]
    assert [line for line in wanted if "==" not in line] == []
    assert [line for line in wanted if re.match(r"torch\b(?!serve)", line)] == []
    facts = {**dict.fromkeys(PORTS, 1), "scratch": "/", "model": "mlp", "max_batch": 1}
    for each in (*peer.command, *peer.environment.values()):
        Environment(peer).fill(each, rows=1, callers=1, **facts)
    assert (peer.wire.format == "own") == (peer.folder / "wire.py").exists()


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    """A misspelt key must not be passed over."""
    file = tmp_path / "peer.toml"
    file.write_text('[start]\ncommand = ["x"]\n[wire]\ntransprot = "grpc"\n')
    with pytest.raises(PeerFileError, match="transprot"):
        read_peer(file)


def test_an_open_inference_answer_is_read() -> None:
    """Names and datatype must be those expected, the numbers raw."""
    exchange = oip(SCENARIOS["linear-1"])
    assert ModelInferRequest.FromString(exchange.body).inputs[0].shape == [1, 16]
    answer = ModelInferResponse()
    answer.outputs.add(name="output", datatype="FP32", shape=[1, 1])
    answer.raw_output_contents.append(struct.pack("<f", 0.5))
    assert exchange.decode(answer.SerializeToString()) == struct.pack("<f", 0.5)
    answer.outputs[0].name = "other"
    with pytest.raises(ValueError, match="other"):
        exchange.decode(answer.SerializeToString())


def test_torchserve_is_asked_in_its_own_messages() -> None:
    """A map entry `data` in field 3 holds the tensor, also where lengths take several bytes."""
    folder = PEERS["torchserve"].folder
    exchange = own(SCENARIOS["mlp-1"], "grpc", "/x", folder / "wire.py")
    values = SCENARIOS["mlp-1"].values()
    assert exchange.body == (
        b"\x0a\x03mlp\x1a\x89\x08\x0a\x04data\x12\x80\x08" + values  # 1033 and 1024 as varints
    )
    assert exchange.decode(b"\x0a\x80\x08" + values) == values
