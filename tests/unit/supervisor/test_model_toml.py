"""model.toml: what it may say, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferd.core.settings import ModelOverride
from inferd.server.supervisor.repository import model_toml
from inferd.server.supervisor.repository.model_toml import Declaration, DeclarationError
from inferd.wire.signature import Axis, TensorSpec


def test_an_empty_file_declares_nothing() -> None:
    """All of it is optional."""
    assert model_toml.parse("") == Declaration()


def test_everything_is_read() -> None:
    """Every key arrives, milliseconds as seconds."""
    read = model_toml.parse(
        """
        max_batch_size = 8
        max_queue_delay_ms = 2.5
        max_queue_size = 10
        max_streams = 3
        versions = [1, 3]
        instances = 2
        devices = ["cpu:0-3", "cuda:1"]
        threads = 4
        """
    )
    assert read == Declaration(
        max_batch_size=8,
        max_queue_delay=0.0025,
        max_queue_size=10,
        max_streams=3,
        versions=(1, 3),
        instances=2,
        devices=("cpu:0-3", "cuda:1"),
        threads=4,
    )


def test_tensors_of_a_model_that_batches_share_the_batch() -> None:
    """The first dimension has one symbol everywhere; other free ones have their own."""
    read = model_toml.parse(
        """
        max_batch_size = 8
        [[input]]
        name = "x"
        datatype = "FP32"
        shape = [-1, 3, -1]
        [[input]]
        name = "mask"
        datatype = "BOOL"
        shape = [-1, -1]
        optional = true
        [[output]]
        name = "y"
        datatype = "ANY"
        """
    )
    batch = Axis("batch", min=1)
    assert read.inputs == (
        TensorSpec("x", "FP32", (batch, 3, Axis("x.2"))),
        TensorSpec("mask", "BOOL", (batch, Axis("mask.1")), optional=True),
    )
    assert read.outputs == (TensorSpec("y", "ANY", None),)


def test_without_batching_every_free_dimension_is_its_own() -> None:
    """Nothing says that two of them are equal."""
    read = model_toml.parse('[[input]]\nname = "x"\ndatatype = "INT64"\nshape = [-1, -1]')
    assert read.inputs[0].dims == (Axis("x.0"), Axis("x.1"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_batch_sise = 1", "unknown key max_batch_sise; did you mean max_batch_size?"),
        ("max_batch_size = true", "key max_batch_size in model.toml is True"),
        ('max_batch_size = "8"', "key max_batch_size in model.toml is '8': expected"),
        ("max_queue_delay_ms = -1", "key max_queue_delay_ms in model.toml is -1"),
        ("max_queue_delay_ms = inf", "key max_queue_delay_ms in model.toml is inf"),
        ("instances = 0", "key instances in model.toml is 0: expected at least 1"),
        ("devices = 3", "key devices in model.toml is 3: expected a list"),
        ('versions = "newest"', 'expected "latest", "all" or a list of version numbers'),
        ("trust = true", "a model cannot trust itself"),
        ("a = ", "not TOML"),
        ('[[input]]\nname = "x"', "lacks the key input.0.datatype"),
        (
            '[[input]]\nname = "x"\ndatatype = "fp32"',
            "datatype 'fp32' is unknown; did you mean FP32?",
        ),
        ('[[input]]\nname = "x"\ndatatype = "FP32"\nshap = []', "did you mean shape?"),
        ('[[input]]\nname = "x"\ndatatype = "FP32"\nshape = [0]', "has the size 0"),
        ('[[input]]\nname = "x"\ndatatype = "FP32"\nshape = [-2]', "has the size -2"),
        ('[[input]]\nname = "x"\ndatatype = "ANY"\nshape = [1]', "ANY goes with any shape"),
        ('[[input]]\nname = "a b"\ndatatype = "ANY"', "key input.0.name in model.toml is 'a b'"),
        (
            'max_batch_size = 2\n[[output]]\nname = "y"\ndatatype = "FP32"\nshape = [3]',
            "does not begin with -1",
        ),
        (
            '[[input]]\nname = "x"\ndatatype = "ANY"\n[[input]]\nname = "x"\ndatatype = "ANY"',
            "two [[input]] called 'x'",
        ),
    ],
)
def test_mistakes_are_told(text: str, expected: str) -> None:
    """The key, what arrived, what was expected."""
    with pytest.raises(DeclarationError) as caught:
        model_toml.parse(text)
    assert expected in str(caught.value)


def test_one_device_needs_no_brackets() -> None:
    """As in inferd.toml."""
    assert model_toml.parse('devices = "cpu:0-1"').devices == ("cpu:0-1",)
    assert model_toml.parse('devices = ["cpu", "cuda"]').devices == ("cpu", "cuda")


def test_a_file_that_cannot_be_read_is_told_without_its_path(tmp_path: Path) -> None:
    """Clients read the reason; where models lie is not for them."""
    with pytest.raises(DeclarationError) as caught:
        model_toml.read(tmp_path / "model.toml")
    assert str(caught.value) == "model.toml cannot be read: No such file or directory"


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    """Binary rubbish is a mistake, not a crash."""
    path = tmp_path / "model.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DeclarationError, match="cannot be read"):
        model_toml.read(path)


def test_the_operator_overrides_what_he_names_and_nothing_else() -> None:
    """`[model.NAME]` wins key by key."""
    declared = Declaration(max_batch_size=8, instances=2, threads=4)
    override = ModelOverride(instances=1, max_queue_delay_ms=5, versions=(2,), devices=("cpu",))
    assert declared.under(override) == Declaration(
        max_batch_size=8,
        instances=1,
        threads=4,
        max_queue_delay=0.005,
        versions=(2,),
        devices=("cpu",),
    )
    assert declared.under(ModelOverride(trust=True)) == declared
