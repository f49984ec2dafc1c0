"""Names of a model's classes: [labels] in model.toml, or text files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

MOST_BYTES = 512 * 1024
"""All labels of one model: gateways are told them in one message."""


class LabelsError(ValueError):
    """Labels that cannot be followed; the message says where and what was expected."""


def read_labels(
    table: Mapping[str, Sequence[str] | str], folder: Path
) -> dict[str, tuple[str, ...]]:
    """The labels of each output: those listed, or the lines of the file in `folder` that is named.

    Raises `LabelsError`.
    """
    found = {
        output: _lines(output, folder, given) if isinstance(given, str) else tuple(given)
        for output, given in table.items()
    }
    nbytes = sum(len(label.encode()) for labels in found.values() for label in labels)
    if nbytes > MOST_BYTES:
        raise LabelsError(
            f"[labels] in model.toml has {nbytes} bytes of text, at most {MOST_BYTES}"
        )
    return found


def _lines(output: str, folder: Path, name: str) -> tuple[str, ...]:
    where = f"labels.{output} in model.toml"
    if name != Path(name).name or name in {"", ".."}:
        raise LabelsError(
            f"{where} is {name!r}; expected a list of texts, or the name of a file beside model.toml"
        )
    path = folder / name
    try:
        with path.open("rb") as file:
            content = file.read(2 * MOST_BYTES)
        return tuple(content.decode().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise LabelsError(f"{where} names {name}, which cannot be read: {why}") from None
