"""What clients may register as shared memory, and what they may not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from inferd.core.link.messages import AddRegion, RegisterRegion, RemoveRegion, ToGateway
from inferd.server.supervisor.regions import MOST_REGIONS, Regions
from inferd.wire.errors import AlreadyExists, Exhausted, InvalidRequest, RegionNotFound


class Gateway:
    """Keeps what it is told and the inodes it was given."""

    def __init__(self) -> None:
        self.told: list[ToGateway] = []
        self.inodes: list[int] = []

    def send(self, message: ToGateway, fds: Sequence[int] = ()) -> None:
        """Hear."""
        self.told.append(message)
        self.inodes += [os.fstat(fd).st_ino for fd in fds]


class Gateways:
    """Two of them."""

    def __init__(self) -> None:
        self.up = (Gateway(), Gateway())

    def send(self, message: ToGateway) -> None:
        """Tell both."""
        for each in self.up:
            each.send(message)

    async def settled(self) -> None:
        """At once."""


@pytest.fixture
def gateways() -> Gateways:
    """Two gateways."""
    return Gateways()


@pytest.fixture
def regions(tmp_path: Path, gateways: Gateways) -> Regions:
    """A folder with an object `mine` of 100 bytes."""
    (tmp_path / "mine").write_bytes(bytes(100))
    return Regions(gateways, folder=tmp_path)


def asked(
    name: str = "r", key: str = "/mine", offset: int = 0, nbytes: int = 100
) -> RegisterRegion:
    """What a client asks for."""
    return RegisterRegion(1, name, key, offset, nbytes)


def test_every_gateway_gets_the_same_open_object(
    regions: Regions, gateways: Gateways, tmp_path: Path
) -> None:
    """Those that come later too, whatever has become of the name by then."""
    regions.register(asked(offset=10, nbytes=90))
    inode = (tmp_path / "mine").stat().st_ino
    (tmp_path / "mine").rename(tmp_path / "moved")
    (tmp_path / "mine").write_bytes(b"another one")
    late = Gateway()
    regions.gateway_up(late)
    for each in (*gateways.up, late):
        assert each.told == [AddRegion("r", "/mine", 10, 90)]
        assert each.inodes == [inode]
    regions.unregister("r")
    assert gateways.up[1].told[-1] == RemoveRegion("r")
    regions.close()


def test_a_name_is_taken_until_it_is_unregistered(regions: Regions, gateways: Gateways) -> None:
    """One or all; what is not registered may be unregistered."""
    regions.register(asked())
    with pytest.raises(AlreadyExists, match="'r'"):
        regions.register(asked())
    regions.unregister("nobody")
    regions.unregister("r")
    regions.register(asked())
    regions.register(asked("s"))
    regions.unregister("")
    assert gateways.up[0].told[-2:] == [RemoveRegion("r"), RemoveRegion("s")]
    later = Gateway()
    regions.gateway_up(later)
    assert later.told == []


@pytest.mark.parametrize(
    "key", ["", "/", "..", "/..", "../mine", "/../mine", "a/mine", "//mine", "/a\0", ".mine", "m" * 251]
)  # fmt: skip
def test_keys_are_names_not_paths(regions: Regions, gateways: Gateways, key: str) -> None:
    """Nothing outside the folder is opened."""
    with pytest.raises(InvalidRequest) as caught:
        regions.register(asked(key=key))
    assert caught.value.field == "key"
    assert gateways.up[0].told == []


def test_links_and_special_files_are_not_followed(regions: Regions, tmp_path: Path) -> None:
    """Whatever else lies in the folder is not for clients, and opening it does not block."""
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for key in ("link", "fifo", "folder"):
        with pytest.raises(InvalidRequest):
            regions.register(asked(key=key, nbytes=1))
    with pytest.raises(RegionNotFound):
        regions.register(asked(key="none"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(("offset", "nbytes"), [(0, 101), (1, 100), (100, 1), (0, 0), (2**63, 1)])
def test_a_region_lies_within_its_object(regions: Regions, offset: int, nbytes: int) -> None:
    """All of it, and it is not empty."""
    with pytest.raises(InvalidRequest) as caught:
        regions.register(asked(offset=offset, nbytes=nbytes))
    assert caught.value.field == "byte_size"


def test_regions_are_counted(regions: Regions) -> None:
    """Each is an open file in every process; names are printable and short."""
    for number in range(MOST_REGIONS):
        regions.register(asked(f"r{number}"))
    with pytest.raises(Exhausted):
        regions.register(asked())
    regions.close()
    for name in ("", "a\nb", "n" * 129):
        with pytest.raises(InvalidRequest):
            regions.register(asked(name))
