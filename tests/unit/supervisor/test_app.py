"""The supervisor with real children: starting, dying, coming back, loading, unloading, ending."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from inferd.core.link.messages import (
    AddDeployment,
    AddInstance,
    CommandAnswer,
    DrainGateway,
    InstanceLost,
    PublishModel,
    PublishServer,
    RegisterRegion,
    StartGateway,
)
from support.stage import staged, start


async def test_a_server_starts_serves_and_ends(tmp_path: Path) -> None:
    """The gateway hears of a deployment, its worker and the model in order; then it is drained."""
    async with staged(tmp_path, grace=7) as stage:
        stage.model("m1")
        summary = await start(stage)
        assert summary.addresses.grpc == "127.0.0.1:4242"
        (served,) = summary.versions
        assert (served.model, served.state, served.live, served.instances) == ("m1", "READY", 1, 1)
        assert served.devices == ("cpu",)
        kinds = [type(message).__name__ for message in stage.told]
        assert kinds.index("AddDeployment") < kinds.index("AddInstance")
        ready = await stage.state("m1", "READY")
        deployment = await stage.expect(AddDeployment)
        assert ready.deployment == deployment.deployment
        assert deployment.platform == "pytorch_code"
        await stage.expect(PublishServer, lambda said: said.ready)
        os.kill(os.getpid(), signal.SIGTERM)
        await stage.run
        assert (await stage.expect(DrainGateway)).grace == 7
        assert stage.children() == []
        assert not stage.ready_file.exists()


async def test_the_gateway_is_told_the_settings(tmp_path: Path) -> None:
    """Limits come from the settings; on a loopback address clients may load models."""
    async with staged(tmp_path, max_request_time=5, max_message_bytes="1MiB") as stage:
        stage.model("m1")
        await start(stage)
        told = await stage.expect(StartGateway)
        assert (told.address, told.max_message_bytes) == ("127.0.0.1:0", 1 << 20)
        assert (told.max_request_time, told.repository_control) == (5, True)


async def test_a_model_that_does_not_load_does_not_keep_the_others(tmp_path: Path) -> None:
    """It is listed with its reason; the server is ready all the same; nobody tries again."""
    async with staged(tmp_path) as stage:
        stage.model("m1", "fail no such operator")
        stage.model("m2", "die")
        stage.model("m3")
        stage.model("untrusted")
        (stage.model("m4").parent / "model.toml").write_text("nonsense = 1")
        summary = await start(stage)
        found = {each.model: (each.state, each.reason) for each in summary.versions}
        assert found["m1"] == ("UNAVAILABLE", "no such operator")
        assert found["m2"] == ("UNAVAILABLE", "worker died while loading (signal 11)")
        assert found["m3"] == ("READY", "")
        assert "unknown key nonsense" in found["m4"][1]
        assert "trust = true under [model.untrusted]" in found["untrusted"][1]
        assert len(stage.workers()) == 1


async def test_loading_is_bounded_in_time(tmp_path: Path) -> None:
    """A worker that hangs is ended and counts as failed."""
    async with staged(tmp_path, load_timeout=0.5) as stage:
        stage.model("m1", "hang")
        summary = await start(stage)
        assert summary.versions[0].reason == "loading took longer than 0.5 s"
        assert stage.workers() == []


async def test_a_worker_that_dies_comes_back(tmp_path: Path) -> None:
    """Its version is not ready meanwhile, and says why; then it is, with a link of its own."""
    async with staged(tmp_path) as stage:
        stage.model("m1")
        await start(stage)
        before = await stage.state("m1", "READY")
        (worker,) = stage.workers()
        worker.kill()
        waiting = await stage.state("m1", "UNAVAILABLE", "worker died (signal 9)")
        # Still named, or the gateway would let go of it.
        assert waiting.deployment == before.deployment
        assert await stage.state("m1", "READY") == before
        numbers = [m.link for m in stage.told if isinstance(m, AddInstance)]
        assert len(set(numbers)) == 2
        assert [w.pid for w in stage.workers()] != [worker.pid]


async def test_a_worker_that_the_gateway_gives_up_is_replaced(tmp_path: Path) -> None:
    """One that lives but is not reached any more would leave its model unready for ever."""
    async with staged(tmp_path) as stage:
        stage.model("m1")
        await start(stage)
        ready = await stage.state("m1", "READY")
        (worker,) = stage.workers()
        (number,) = [m.link for m in stage.told if isinstance(m, AddInstance)]
        stage.say(InstanceLost(number))
        await stage.state("m1", "UNAVAILABLE", "worker died (signal 9)")
        assert await stage.state("m1", "READY") == ready
        assert [w.pid for w in stage.workers()] != [worker.pid]


async def test_with_several_workers_one_may_die(tmp_path: Path) -> None:
    """The version stays ready as long as one is reached."""
    async with staged(tmp_path) as stage:
        (stage.model("m1").parent / "model.toml").write_text("instances = 2")
        summary = await start(stage)
        assert (summary.versions[0].live, summary.versions[0].instances) == (2, 2)
        deployment = await stage.expect(AddDeployment)
        assert [pinning.threads for pinning in deployment.instances] == [1, 1]
        stage.workers()[0].kill()
        await stage.expect(AddInstance, lambda added: added.link == 3)
        states = [m for m in stage.told if isinstance(m, PublishModel)]
        assert "UNAVAILABLE" not in {v.state for m in states for v in m.versions}


async def test_a_gateway_that_dies_comes_back_and_models_stay(tmp_path: Path) -> None:
    """The workers are the same; the new gateway has the old ports and hears everything."""
    async with staged(tmp_path) as stage:
        stage.model("m1")
        stage.model("m2", "fail because")
        await start(stage)
        workers = [worker.pid for worker in stage.workers()]
        old = stage.gateway()
        stage.told.clear()
        old.kill()
        again = await stage.expect(StartGateway)
        assert (again.address, again.http) == ("127.0.0.1:4242", "127.0.0.1:4243")
        await stage.expect(PublishServer, lambda said: said.ready)
        ready = await stage.state("m1", "READY")
        assert ready.deployment == (await stage.expect(AddDeployment)).deployment
        await stage.state("m2", "UNAVAILABLE", "because")
        assert [worker.pid for worker in stage.workers()] == workers
        assert stage.gateway().pid != old.pid


async def test_loading_anew_swaps_and_then_stops_the_old(tmp_path: Path) -> None:
    """What served before serves until the new workers are reached; then only the new live."""
    async with staged(tmp_path) as stage:
        stage.model("m1")
        await start(stage)
        old = await stage.state("m1", "READY")
        (worker,) = stage.workers()
        stage.model("m1", "outputs z")
        answer = await stage.ask("load", "m1")
        assert answer.fault is None
        new = await stage.state("m1", "READY")
        assert new.deployment != old.deployment
        added = await stage.expect(AddDeployment, lambda m: m.deployment == new.deployment)
        assert added.signature.outputs[0].name == "z"
        states = [v.state for m in stage.told if isinstance(m, PublishModel) for v in m.versions]
        assert states == ["LOADING", "READY", "READY"]
        assert [each.pid for each in stage.workers()] != [worker.pid]
        assert len(stage.workers()) == 1


async def test_a_load_that_fails_leaves_what_serves(tmp_path: Path) -> None:
    """The caller hears the reason; the old worker was never touched."""
    async with staged(tmp_path) as stage:
        stage.model("m1")
        await start(stage)
        before = await stage.state("m1", "READY")
        (worker,) = stage.workers()
        stage.model("m1", "fail bad weights")
        answer = await stage.ask("load", "m1")
        assert answer.fault is not None
        assert answer.fault.reason == "LOAD_FAILED"
        assert answer.fault.message == "failed to load 'm1': bad weights"
        assert stage.last_state("m1") == before
        assert [each.pid for each in stage.workers()] == [worker.pid]


async def test_a_new_version_replaces_the_latest(tmp_path: Path) -> None:
    """After a load, the latest version is served and the one before is not."""
    async with staged(tmp_path) as stage:
        stage.model("m1")
        await start(stage)
        stage.model("m1", version=2)
        assert (await stage.ask("load", "m1")).fault is None
        await stage.state("m1", "READY", version=2)
        assert stage.last_state("m1", version=1) is None


async def test_a_model_that_failed_can_be_loaded_later(tmp_path: Path) -> None:
    """Once its files are mended; one that came later, too."""
    async with staged(tmp_path) as stage:
        stage.model("m1", "fail not yet")
        await start(stage)
        stage.model("m1")
        stage.model("m2")
        assert (await stage.ask("load", "m1")).fault is None
        assert (await stage.ask("load", "m2")).fault is None
        await stage.state("m1", "READY")
        await stage.state("m2", "READY")


async def test_unloading_drains_stops_and_says_so(tmp_path: Path) -> None:
    """First it is not routed to, then its worker ends; it can be loaded again."""
    async with staged(tmp_path) as stage:
        stage.model("m1")
        await start(stage)
        assert (await stage.ask("unload", "m1")).fault is None
        states = [v for m in stage.told if isinstance(m, PublishModel) for v in m.versions]
        assert [v.state for v in states] == ["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]
        assert [v.deployment is None for v in states] == [True, False, True, True]
        assert states[-1].reason == "unloaded"
        assert stage.workers() == []
        assert (await stage.ask("load", "m1")).fault is None
        await stage.state("m1", "READY")


async def test_unknown_names_are_not_found(tmp_path: Path) -> None:
    """Whatever the name looks like, it never becomes a path."""
    async with staged(tmp_path) as stage:
        stage.model("m1")
        await start(stage)
        for name in ("m7", "../models/m1", "", "m1/1", "\x00", "m1\n", "x" * 1000):
            for verb in ("load", "unload"):
                answer = await stage.ask(verb, name)
                assert answer.fault is not None
                assert answer.fault.reason == "MODEL_NOT_FOUND"


async def test_callers_hear_no_path_of_the_server(tmp_path: Path) -> None:
    """Where the models lie is for the operator's log."""
    async with staged(tmp_path) as stage:
        version = stage.model("m1")
        await start(stage)
        stage.repository.rename(tmp_path / "elsewhere")
        answer = await stage.ask("load", "m1")
        assert answer.fault is not None
        assert answer.fault.reason == "LOAD_FAILED"
        assert "its log says why" in answer.fault.message
        (tmp_path / "elsewhere").rename(stage.repository)
        version.rename(stage.repository / "gone")
        (stage.repository / "m1" / "model.toml").touch()
        answer = await stage.ask("load", "m1")
        assert answer.fault is not None
        assert "it has no version folder: expected m1/1/model.pt2" in answer.fault.message
        assert str(tmp_path) not in answer.fault.message


async def test_commands_for_one_model_wait_for_each_other(tmp_path: Path) -> None:
    """Load and unload sent at once end as if they had come one by one."""
    async with staged(tmp_path) as stage:
        stage.model("m1")
        await start(stage)
        answers = await asyncio.gather(
            *(stage.ask(verb, "m1") for verb in ("load", "unload", "load", "unload", "load"))
        )
        assert [answer.fault for answer in answers] == [None] * 5
        await stage.state("m1", "READY")
        assert len(stage.workers()) == 1


async def test_the_operator_can_forbid_it(tmp_path: Path) -> None:
    """With repository_control off a command is refused even if the gateway passes it on."""
    async with staged(tmp_path, repository_control=False) as stage:
        stage.model("m1")
        await start(stage)
        answer = await stage.ask("unload", "m1")
        assert answer.fault is not None
        assert answer.fault.reason == "FORBIDDEN"
        await stage.state("m1", "READY")


async def test_labels_are_of_outputs_that_there_are(tmp_path: Path) -> None:
    """Gateways are told them; a name that the model does not have is a reason not to load."""
    async with staged(tmp_path) as stage:
        for name, output in (("m1", "y"), ("m2", "q")):
            folder = stage.model(name).parent
            (folder / "model.toml").write_text(f'[labels]\n{output} = ["a", "b"]\n')
        await start(stage)
        told = await stage.expect(AddDeployment)
        assert (told.model, told.labels) == ("m1", {"y": ("a", "b")})
        await stage.state("m2", "UNAVAILABLE", "[labels] in model.toml names the output 'q'")


async def test_shared_memory_is_the_operators_to_allow(tmp_path: Path) -> None:
    """Without it a region is refused even if the gateway passes it on."""
    async with staged(tmp_path) as stage:
        stage.model("m1")
        await start(stage)
        assert not (await stage.expect(StartGateway)).client_shared_memory
        stage.say(RegisterRegion(1, "r", "key", 0, 1))
        answer = await stage.expect(CommandAnswer)
        assert answer.fault is not None
        assert answer.fault.reason == "FORBIDDEN"
