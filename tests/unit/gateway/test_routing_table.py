"""Where a model's name and version lead, and why nowhere."""

from __future__ import annotations

import pytest

from inferd.core.link.messages import PublishModel, VersionState
from inferd.server.gateway.routing.table import RoutingTable, check_name
from inferd.server.gateway.scheduling.deployment import Deployment
from inferd.server.gateway.scheduling.deployment_info import DeploymentInfo
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.wire.errors import InvalidRequest, ModelNotFound, ModelNotReady, VersionNotFound
from inferd.wire.signature import Signature


def deployment(number: int) -> Deployment:
    """A deployment without workers."""
    info = DeploymentInfo(
        number=number, model="m", version=1, platform="test", signature=Signature((), ()),
        takes_parameters=False, max_queue_size=1, max_queue_delay=0.0, instances=(),
    )  # fmt: skip
    return Deployment(info, Statistics(), max_batch_bytes=1, now=lambda: 0.0, epoch_ms=lambda: 0)


ONE, TWO = deployment(1), deployment(2)


def table(*versions: VersionState) -> RoutingTable:
    """A table that knows one model."""
    made = RoutingTable()
    made.publish(PublishModel("m", versions), {1: ONE, 2: TWO})
    return made


READY_1 = VersionState(1, "READY", "", 1)
READY_3 = VersionState(3, "READY", "", 2)


def test_without_a_version_the_highest_one_served_answers() -> None:
    """A failed version above it changes nothing."""
    made = table(READY_3, READY_1, VersionState(5, "UNAVAILABLE", "broken", None))
    assert made.resolve("m", "") is TWO
    assert made.resolve("m", "1") is ONE
    assert made.resolve("m", "003") is TWO


def test_publishing_replaces_what_was_known_of_a_model() -> None:
    """Routes of the old truth are gone, other models stay, no versions means no model."""
    made = table(READY_1, READY_3)
    made.publish(PublishModel("n", (READY_1,)), {1: ONE})
    made.publish(PublishModel("m", (READY_1,)), {1: ONE})
    assert made.resolve("m", "") is ONE
    with pytest.raises(VersionNotFound, match="it has 1"):
        made.resolve("m", "3")
    made.publish(PublishModel("m", ()), {})
    with pytest.raises(ModelNotFound):
        made.resolve("m", "")
    assert made.resolve("n", "") is ONE
    assert set(made.models()) == {"n"}


@pytest.mark.parametrize("version", ["abc", "1.5", "-1", "0", "9" * 30, " 1", "1 ", "\u0661"])
def test_versions_are_whole_numbers(version: str) -> None:
    """Anything else is refused as malformed, not as missing (M21)."""
    with pytest.raises(InvalidRequest) as caught:
        table(READY_1).resolve("m", version)
    assert caught.value.field == "model_version"
    with pytest.raises(InvalidRequest):
        table(READY_1).is_ready("m", version)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a\0b", "n" * 129, "m ", "\uff4d", ".m", "-m"])
def test_names_that_no_model_has_are_refused(name: str) -> None:
    """Before anything is looked up (M24)."""
    with pytest.raises(InvalidRequest) as caught:
        table(READY_1).resolve(name, "")
    assert caught.value.field == "model_name"
    assert "n" * 65 not in caught.value.message
    with pytest.raises(InvalidRequest):
        check_name(name)


def test_what_is_missing_is_told_with_what_is_there() -> None:
    """A near miss is suggested (M19), known versions are listed (M20)."""
    made = RoutingTable()
    made.publish(PublishModel("digits", (READY_1, READY_3)), {1: ONE, 2: TWO})
    with pytest.raises(ModelNotFound, match="did you mean 'digits'"):
        made.resolve("digit", "")
    with pytest.raises(VersionNotFound, match="it has 1, 3"):
        made.resolve("digits", "2")


def test_a_version_that_is_not_served_says_why() -> None:
    """Loading is worth a retry; a failure tells its reason (M23)."""
    made = table(VersionState(2, "LOADING", "", None), VersionState(1, "UNAVAILABLE", "bad", None))
    with pytest.raises(ModelNotReady, match="LOADING") as loading:
        made.resolve("m", "")
    assert loading.value.retry_after
    with pytest.raises(ModelNotReady, match=r"version 1 .*bad") as failed:
        made.resolve("m", "1")
    assert failed.value.retry_after is None
    assert not made.is_ready("m")
    assert not made.is_ready("unknown")


def test_a_deployment_without_workers_is_routed_to_but_not_ready() -> None:
    """Requests learn from it that its worker is being restarted."""
    made = table(READY_1)
    assert made.resolve("m", "") is ONE
    assert not made.is_ready("m", "1")
