"""States go in, messages come out."""

from __future__ import annotations

from inferd.core.link.messages import PublishModel, VersionState
from inferd.server.supervisor.catalogue import Catalogue

LOADING = VersionState(1, "LOADING", "", None)
READY = VersionState(1, "READY", "", 7)
SECOND = VersionState(2, "READY", "", 8)


def test_changes_are_published_with_everything_known_of_the_model() -> None:
    """The whole truth about one model, versions in order."""
    catalogue = Catalogue()
    assert catalogue.set("m", SECOND) == PublishModel("m", (SECOND,))
    assert catalogue.set("m", LOADING) == PublishModel("m", (LOADING, SECOND))
    assert catalogue.set("m", READY) == PublishModel("m", (READY, SECOND))
    assert catalogue.get("m", 1) == READY


def test_what_does_not_change_is_not_published() -> None:
    """No news, no message."""
    catalogue = Catalogue()
    catalogue.set("m", READY)
    assert catalogue.set("m", READY) is None
    assert catalogue.set("m") is None
    assert catalogue.replace("m", READY) is None


def test_replacing_forgets_other_versions() -> None:
    """They are gone from the next message."""
    catalogue = Catalogue()
    catalogue.set("m", READY)
    assert catalogue.replace("m", SECOND) == PublishModel("m", (SECOND,))
    assert catalogue.get("m", 1) is None


def test_everything_is_one_message_per_model() -> None:
    """For a gateway that knows nothing, in the order of the names."""
    catalogue = Catalogue()
    catalogue.set("b", READY)
    catalogue.set("a", SECOND)
    assert list(catalogue.everything()) == [
        PublishModel("a", (SECOND,)),
        PublishModel("b", (READY,)),
    ]
    assert catalogue.models() == ("a", "b")


def test_unknown_models_have_no_versions() -> None:
    """Asking creates nothing."""
    catalogue = Catalogue()
    assert catalogue.versions("m") == ()
    assert catalogue.get("m", 1) is None
    assert catalogue.models() == ()
