"""Arguments against a signature: what is found before anything is sent."""

from __future__ import annotations

import numpy as np
import pytest

from inferd.client import Client, InvalidInput
from support.oip_server import OipServer

ROWS = np.ones((2, 3), np.float32)
ONE = np.ones((2, 1), np.int64)


@pytest.mark.parametrize(
    ("positional", "named", "text", "argument"),
    [
        ((ROWS,), {"rihgt": ONE}, "no input 'rihgt'; did you mean 'right'", "rihgt"),
        ((ROWS,), {"zzz": ONE}, "its inputs are 'left', 'right', 'note'", "zzz"),
        ((ROWS,), {}, "input 'right' is missing; .*'right' .INT64 .-1, 1..", "right"),
        ((ROWS, ONE), {"left": ROWS}, "'left' was given twice", "left"),
        ((ROWS, ONE, ONE, ONE), {}, "4 inputs were given, model 'pair' takes 3", None),
        ((ROWS, ONE[:1]), {}, "equally many rows.*'left' has 2, 'right' has 1", "left"),
        ((ROWS[:, :2], ONE), {}, r"shape \[2, 2\], the model takes \[-1, 3\]", "left"),
        ((ROWS[0], ONE), {}, r"add a batch dimension: array\[None\]", "left"),
        ((ROWS[0][:2], ONE), {}, r"shape \[2\], the model takes \[-1, 3\]", "left"),
        ((ROWS[None], ONE), {}, r"shape \[1, 2, 3\], the model takes", "left"),
    ],
)
def test_mistakes_are_named_before_sending(  # noqa: PLR0917 - pytest passes them by name
    client: Client,
    server: OipServer,
    positional: tuple[object, ...],
    named: dict[str, object],
    text: str,
    argument: str | None,
) -> None:
    """Each mistake names the argument, what came and what is taken; no inference is sent."""
    with pytest.raises(InvalidInput, match=text) as caught:
        client.model("pair").infer(*positional, **named)  # type: ignore[arg-type] # inputs by name
    assert caught.value.argument == argument
    assert caught.value.code is None
    assert isinstance(caught.value, ValueError)
    assert server.calls["ModelInfer"] == 0


def test_a_model_that_does_not_batch_gets_no_batch_hint(client: Client) -> None:
    """The advice to add a batch dimension is given only where the model has one."""
    with pytest.raises(InvalidInput, match=r"takes \[2, -1\]") as caught:
        client.model("plain")([1.0, 2.0])
    assert "batch" not in caught.value.message


def test_a_model_of_any_shape_takes_scalars(client: Client) -> None:
    """A model whose rank is free is not checked for shape: the server knows better."""
    assert client.model("echo")(1.5).shape == ()


def test_a_batch_of_scalars_is_told_from_any_shape(client: Client) -> None:
    """[-1] in the metadata is a batch of scalars where the configuration has no dims."""
    model = client.model("ids")
    assert model.metadata().inputs[0].shape == (-1,)
    assert model([1, 2]).tolist() == [1, 2]
    with pytest.raises(InvalidInput, match="add a batch dimension"):
        model(1)
    with pytest.raises(InvalidInput, match=r"shape \[2, 1\], the model takes \[-1\]"):
        model([[1], [2]])


def test_free_dimensions_take_any_size(client: Client) -> None:
    """A dimension of -1 is not checked."""
    assert client.model("plain")(np.ones((2, 9), np.float32)).shape == (2, 9)


def test_more_rows_than_a_batch_are_sent(client: Client) -> None:
    """The server splits what exceeds `max_batch_size`: the client does not mind."""
    assert client.model("identity-fp32")(np.ones((1000, 2), np.float32)).shape == (1000, 2)
