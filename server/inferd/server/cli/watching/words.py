"""Figures as short text, in columns of a few characters."""

from __future__ import annotations

UNKNOWN = "-"

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def rate(value: float) -> str:
    """Per second, up to six characters below a million."""
    if value == 0:
        return "0"
    if value < 9.95:
        return f"{value:.1f}" if value >= 0.05 else "<0.1"
    return f"{value:,.0f}" if value < 99_999.5 else f"{value / 1000:,.0f}k"


def share(value: float | None) -> str:
    """A part of a whole in percent; no error is never rounded away."""
    if value is None:
        return UNKNOWN
    percent = value * 100
    if percent == 0 or percent >= 9.95:
        return f"{percent:.0f}%"
    return f"{percent:.1f}%" if percent >= 0.05 else "<0.1%"


def milliseconds(seconds: float | None) -> str:
    """Three digits that say something, as far as they fit."""
    if seconds is None:
        return UNKNOWN
    value = seconds * 1000
    if value < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def age(seconds: float) -> str:
    """In tenths of a second."""
    return f"{seconds:.1f} s" if seconds >= 0.05 else "<0.1 s"


def number(value: float | None) -> str:
    """A mean of things that are counted."""
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def size(value: int | None) -> str:
    """In the unit that leaves three digits at most: 512 MB, 1.4 GB."""
    if value is None:
        return UNKNOWN
    left, unit = float(value), 0
    while left >= 999.5 and unit < len(_UNITS) - 1:
        left, unit = left / 1000, unit + 1
    digits = 1 if unit and left < 9.95 else 0
    return f"{left:.{digits}f} {_UNITS[unit]}"


def whole(value: float | None, unit: str) -> str:
    """A measured value, rounded."""
    return UNKNOWN if value is None else f"{value:.0f} {unit}"


def duration(seconds: float) -> str:
    """In its two largest units: 42 s, 3 min 20 s, 5 h 2 min, 12 d 4 h."""
    left = int(seconds)
    parts: list[tuple[int, str]] = []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts or size == 1:
            parts.append((count, name))
    return " ".join(f"{count} {name}" for count, name in parts[:2] if count or len(parts) == 1)


def cpu(value: float | None) -> str:
    """CPU seconds per second in percent of one core."""
    return UNKNOWN if value is None else f"{value:.0%}"


def shortened(name: str, width: int) -> str:
    """The name in `width` characters; of a longer one both ends, which tell names apart."""
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}…{name[len(name) - tail :]}"
