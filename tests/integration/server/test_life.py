"""Loading, unloading and stopping while calls are under way."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from inferd.client import LoadFailed, ModelNotFound, ModelNotReady, connect
from support.gate import Gate
from support.repository import write_scale
from support.server import Server

ROW = np.array([[1, 2, 3, 4]], np.float32)


def test_a_new_version_takes_over_without_an_error(tmp_path: Path) -> None:
    """Under traffic, loading a new version fails no call, and every answer is of one version."""
    folder = tmp_path / "models" / "scale"
    write_scale(folder, 1, 1.0)
    with (
        Server(tmp_path, [tmp_path / "models"]) as server,
        connect(server.address, retries=False) as client,
    ):
        model = client.model("scale")
        stop, factors = threading.Event(), set()
        heard = {1.0: threading.Event(), 2.0: threading.Event()}

        def call() -> None:
            while not stop.is_set():
                factor = float((model(ROW) / ROW).max())
                factors.add(factor)
                heard[factor].set()

        callers = [threading.Thread(target=call) for _ in range(4)]
        for each in callers:
            each.start()
        write_scale(folder, 2, 2.0)
        assert heard[1.0].wait(60)
        client.load("scale")
        np.testing.assert_array_equal(model(ROW), 2 * ROW)
        assert heard[2.0].wait(60)
        stop.set()
        for each in callers:
            each.join(60)
        assert factors == {1.0, 2.0}
        assert model.infer(ROW).version == "2"
        assert len(server.workers()) == 1


def test_a_version_that_does_not_load_leaves_the_old_one(tmp_path: Path) -> None:
    """The command fails with the reason; the version that served before still does."""
    folder = tmp_path / "models" / "scale"
    write_scale(folder, 1, 1.0)
    with Server(tmp_path, [tmp_path / "models"]) as server, connect(server.address) as client:
        (folder / "2").mkdir()
        (folder / "2" / "model.pt2").write_bytes(b"torn")
        with pytest.raises(LoadFailed, match="failed to load 'scale'"):
            client.load("scale")
        np.testing.assert_array_equal(client.model("scale")(ROW), ROW)


def test_an_unloaded_model_is_listed_and_comes_back(tmp_path: Path) -> None:
    """Unloading ends its worker and says so to callers; loading brings it back."""
    write_scale(tmp_path / "models" / "scale", 1, 1.0)
    with (
        Server(tmp_path, [tmp_path / "models"]) as server,
        connect(server.address, retries=False) as client,
    ):
        model = client.model("scale")
        model(ROW)
        client.unload("scale")
        with pytest.raises(ModelNotReady, match="unloaded"):
            model(ROW)
        assert not model.ready()
        (listed,) = client.models()
        assert listed.state == "UNAVAILABLE"
        client.load("scale")
        np.testing.assert_array_equal(model(ROW), ROW)
        with pytest.raises(ModelNotFound):
            client.load("scales")


def test_calls_in_flight_are_answered_when_the_server_stops(tmp_path: Path) -> None:
    """SIGTERM while a batch computes: its callers get their answers, then everything ends."""
    with (
        Gate(tmp_path, tmp_path / "models") as gate,
        Server(tmp_path, [tmp_path / "models"], "--trust", "gated") as server,
    ):
        with connect(server.address, retries=False) as client:
            answers: list[object] = []
            caller = threading.Thread(target=lambda: answers.append(client.model("gated")(ROW)))
            caller.start()
            gate.wait()
            server.process.send_signal(signal.SIGTERM)
            gate.let_go()
            caller.join(60)
            assert server.process.wait(60) == 0
        server.ended_well = True
    np.testing.assert_array_equal(np.asarray(answers[0]), ROW)
