"""Zip archives in the one form that torch writes, so that every reader sees the same members."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

MEMBER_LIMIT = 256 << 20
"""Largest member, in bytes, that is read into memory to be looked at."""

_MEMBERS_LIMIT = 200_000
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_PATH = re.compile(r"[^\x00-\x1f\x7f\\:]+")


class ArchiveRefused(ValueError):
    """The file is no zip archive, or one that two readers could understand differently."""


class Archive:
    """A zip archive whose members all lie in one folder, which `names` leaves out.

    Stored members only, no two of one name, nothing before, between or after what the directory
    lists: torch's reader and ours cannot disagree about what is in it, and it cannot unpack to
    more than its own size. Raises `ArchiveRefused` for all else.
    """

    def __init__(self, source: Path | bytes) -> None:
        self._file: BinaryIO = (
            io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        )
        try:
            self._size = self._file.seek(0, io.SEEK_END)
            _check_end(self._file, self._size)
            self._zip = zipfile.ZipFile(self._file)
            self._members = self._checked(self._zip.infolist())
        except (zipfile.BadZipFile, struct.error, UnicodeDecodeError, OverflowError) as error:
            self._file.close()
            raise ArchiveRefused(f"not a zip archive as torch writes them: {error}") from None
        except BaseException:
            self._file.close()
            raise

    @property
    def names(self) -> tuple[str, ...]:
        """The members' paths below the archive's one folder."""
        return tuple(self._members)

    def read(self, name: str) -> bytes:
        """The bytes of a member. Raises `ArchiveRefused` if it is damaged or very large."""
        member = self._members[name]
        if member.file_size > MEMBER_LIMIT:
            raise ArchiveRefused(
                f"member '{name}' has {member.file_size} bytes; expected at most {MEMBER_LIMIT}"
            )
        try:
            return self._zip.read(member)
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise ArchiveRefused(f"member '{name}' cannot be read: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _checked(self, members: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        if not members:
            raise ArchiveRefused("the archive is empty")
        if len(members) > _MEMBERS_LIMIT:
            raise ArchiveRefused(f"{len(members)} members; expected at most {_MEMBERS_LIMIT}")
        folder = members[0].filename.partition("/")[0] + "/"
        seen: set[str] = set()
        found: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            name = member.orig_filename
            _check_member(member, folder)
            # torch looks members up without regard to case.
            if (folded := name.casefold()) in seen:
                raise ArchiveRefused(f"two members are called '{name}'")
            seen.add(folded)
            found[name.removeprefix(folder)] = member
        # Members that share bytes would unpack to more than there is.
        if sum(member.file_size for member in members) > self._size:
            raise ArchiveRefused("the members overlap")
        return found


def _check_member(member: zipfile.ZipInfo, folder: str) -> None:
    name = member.orig_filename
    parts = name.split("/")
    if _PATH.fullmatch(name) is None or not name.startswith(folder) or name != member.filename:
        raise ArchiveRefused(f"member {name!r} is not a plain path below '{folder}'")
    if any(part in {"", ".", ".."} for part in parts):
        raise ArchiveRefused(f"member {name!r} is not a plain path of a file")
    if member.external_attr >> 28 not in {0, 0o10}:
        raise ArchiveRefused(f"member '{name}' is a link or a device; expected a file")
    if member.flag_bits & 0x1:
        raise ArchiveRefused(f"member '{name}' is encrypted")
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise ArchiveRefused(f"member '{name}' is compressed; torch stores members as they are")


def _check_end(file: BinaryIO, size: int) -> None:
    """That the directory ends where the file does: no comment, nothing hidden behind it."""
    file.seek(max(0, size - _END.size))
    end = file.read(_END.size)
    if len(end) < _END.size or end[:4] != b"PK\x05\x06":
        raise ArchiveRefused("not a zip archive, or one with bytes behind its end")
    _, disk, _, _, count, length, start, comment = _END.unpack(end)
    if disk or comment:
        raise ArchiveRefused("the archive has a comment or several parts")
    stop = size - _END.size
    file.seek(max(0, stop - _LOCATOR_64.size))
    locator = file.read(_LOCATOR_64.size)
    if locator[:4] == b"PK\x06\x07":
        _, _, end_64_at, _ = _LOCATOR_64.unpack(locator)
        stop -= _LOCATOR_64.size + _END_64.size
        if end_64_at != stop:
            raise ArchiveRefused("the archive's two directories differ")
        file.seek(stop)
        record = _END_64.unpack(file.read(_END_64.size))
        wide = (record[7], record[8], record[9])
        for narrow, actual, full in zip(
            (count, length, start), wide, (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF), strict=True
        ):
            if record[0] != b"PK\x06\x06" or narrow not in {actual, full}:
                raise ArchiveRefused("the archive's two directories differ")
        count, length, start = wide
    if start + length != stop:
        raise ArchiveRefused("the archive has bytes beside its members and its directory")
