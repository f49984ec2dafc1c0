"""Archives: only the form that every reader understands alike."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from inferd.server.supervisor.repository.archive import Archive, ArchiveRefused


def _zip(members: Mapping[str, bytes], **kwargs: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **kwargs) as archive:  # type: ignore[call-overload]  # kwargs
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, kwargs.get("compression"))
    return stream.getvalue()


GOOD = _zip({"m/a": b"first", "m/b/c": b"second"})


def test_members_are_read_below_the_one_folder(tmp_path: Path) -> None:
    """From a file or from bytes; the folder's name is left out."""
    path = tmp_path / "m.zip"
    path.write_bytes(GOOD)
    for source in (path, GOOD):
        with Archive(source) as archive:
            assert archive.names == ("a", "b/c")
            assert archive.read("b/c") == b"second"


def test_zip64_is_read() -> None:
    """The form torch writes."""
    end = len(GOOD) - 22
    count, length, start = struct.unpack("<H2L", GOOD[end + 10 : end + 20])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    with Archive(GOOD[:end] + record + locator + GOOD[end:]) as archive:
        assert archive.names == ("a", "b/c")
    moved = struct.pack("<4sLQL", b"PK\x06\x07", 0, end - 1, 1)
    with pytest.raises(ArchiveRefused, match="differ"):
        Archive(GOOD[:end] + record + moved + GOOD[end:])
    other = record[:48] + struct.pack("<Q", start - 1)
    with pytest.raises(ArchiveRefused, match="differ"):
        Archive(GOOD[:end] + other + locator + GOOD[end:])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a zip archive at all, only some text",
        GOOD[:-1],
        GOOD + b"x",
        b"x" + GOOD,
        GOOD + GOOD,
        _zip({}),
    ],
    ids=["nothing", "text", "cut", "tail", "head", "two", "empty"],
)
def test_what_is_not_exactly_an_archive_is_refused(data: bytes) -> None:
    """Nothing before, between or behind: two readers could find two directories."""
    with pytest.raises(ArchiveRefused):
        Archive(data)


@pytest.mark.parametrize(
    "names",
    [
        ["m/a", "n/b"],
        ["a"],
        ["m/../a"],
        ["m/a", "m/./b"],
        ["m/a", "m//b"],
        ["/m/a"],
        ["m/a", "m/A"],
        ["m/a", "m\\b"],
        ["m/a", "m/C:x"],
        ["m/a\x1b"],
        ["m/folder/"],
    ],
)
def test_names_that_are_no_plain_paths_are_refused(names: list[str]) -> None:
    """One folder, forward slashes, no dots, no two names that differ in case only."""
    with pytest.raises(ArchiveRefused):
        Archive(_zip(dict.fromkeys(names, b"")))


def test_two_members_of_one_name_are_refused() -> None:
    """Readers differ in which of them they take."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("m/a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("m/a", b"2")
    with pytest.raises(ArchiveRefused, match="two members are called 'm/a'"):
        Archive(stream.getvalue())


def test_names_with_a_nul_are_refused() -> None:
    """Some readers end a name there."""
    with pytest.raises(ArchiveRefused):
        Archive(_zip({"m/abc": b""}).replace(b"m/abc", b"m/a\x00c"))


def test_compressed_members_are_refused() -> None:
    """A small file could become a large one."""
    with pytest.raises(ArchiveRefused, match="compressed"):
        Archive(_zip({"m/a": b"0" * 100_000}, compression=zipfile.ZIP_DEFLATED))


def test_links_are_refused() -> None:
    """They name something outside."""
    link = zipfile.ZipInfo("m/a")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ArchiveRefused, match="link"):
        Archive(stream.getvalue())


def test_members_that_share_bytes_are_refused() -> None:
    """Two entries of the directory over the same bytes: more comes out than went in."""
    data = b"0" * 1000
    good = _zip({"m/a": data, "m/b": data})
    central = good.index(b"PK\x01\x02")
    second = good.index(b"PK\x01\x02", central + 1)
    # Cut the second member's bytes out and let its entry point at the first one's.
    middle = good.index(b"PK\x03\x04", 4)
    entry = bytearray(good[second:-22])
    entry[42:46] = struct.pack("<L", 0)
    directory = good[central:second] + bytes(entry)
    end = bytearray(good[-22:])
    end[16:20] = struct.pack("<L", middle)
    with pytest.raises(ArchiveRefused, match="overlap"):
        Archive(good[:middle] + directory + bytes(end))


def test_damage_is_told() -> None:
    """A member whose checksum is wrong is not handed out."""
    with Archive(GOOD.replace(b"second", b"SECOND")) as archive, pytest.raises(ArchiveRefused):
        archive.read("b/c")
