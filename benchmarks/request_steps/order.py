"""The steps of a request in their order, and how often each copies the request's tensor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """`small` copies of tensors up to 4 KB, `large` ones of larger: in or out, each counts once.

    Small tensors are copied together, where that is quicker than looking at each.
    """

    name: str
    small: int = 0
    large: int = 0

    @property
    def copies(self) -> str:
        """For the table."""
        if self.small == self.large:
            return str(self.small)
        return f"{self.small} small, {self.large} large"


ALTERNATIVES = (
    Step("parse it (a form not seen before)", small=1),
    Step("find its plan (a form not seen before)"),
)
"""Take the place of recognising the form."""

STEPS = (
    Step("recognise its form", small=1),
    Step("check sizes and values"),
    Step("admit and queue it"),
    Step("form the batch"),
    Step("write the slot, send the batch", small=2, large=1),
    Step("receive it in the worker"),
    Step("run the batch", small=1, large=1),
    Step("send the outcome"),
    Step("receive the outcome"),
    Step("read the slot, send the answer", small=3, large=1),
    Step("count it and free the slot"),
)

INSIDE = {"run the batch": "of which: the model"}
"""Steps measured inside of others; the rest of running a batch is views, checks and one copy."""
