"""`inferd predict`: send one request to a running server and show the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from inferd.client import InferenceError, Model, ParameterValue, Prediction, connect
from inferd.client.inputs import (
    InputValues,
    UsageError,
    name_values,
    random_values,
    read_parameters,
    read_values,
)
from inferd.server.cli.answered import Answered, answered, tensor_document
from inferd.server.cli.output import FAILED, MISUSED, complain, show, show_json
from inferd.server.cli.tables import output_lines


def predict(
    model: str,
    /,
    *,
    address: str = "127.0.0.1:8001",
    inputs: Annotated[
        tuple[str, ...],
        Parameter(
            name=("--input", "-i"),
            metavar="[NAME=]VALUE",
            negative=(),
            json_list=False,
            show_default=False,
        ),
    ] = (),
    random: Annotated[
        tuple[int, ...] | None, Parameter(metavar="[ROWS]", consume_multiple=(0, 1), negative=())
    ] = None,
    version: int | None = None,
    parameters: Annotated[
        tuple[str, ...],
        Parameter(
            name=("--parameter", "-p"),
            metavar="NAME=VALUE",
            negative=(),
            json_list=False,
            show_default=False,
        ),
    ] = (),
    timeout: float = 30.0,
    timings: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> int:
    """Send one request to a model of a running server and show its answer, or answers as they come.

    For example

    - inferd predict digits --input @models/digits/1/sample.json
    - inferd predict breast-cancer --input features=@patients.npy
    - inferd predict recommend --input user='[3, 7]' --input item='[11, 11]'
    - inferd predict digits --random 4 --json
    - inferd predict textgen --input '["The "]' --parameter length=80

    Args:
        model: Name of the model.
        address: HOST:PORT of the server.
        inputs: NAME=VALUE, once per input. VALUE is JSON ('[[1, 2]]'), text, or @FILE with .npy,
            .npz or .json. A model with one input needs no NAME; a JSON object or an .npz file
            without a NAME holds inputs by name.
        random: Random inputs that fit the model's signature, with this many rows (1 if left out):
            the same each time.
        version: Version of the model; without it the server picks one.
        parameters: NAME=VALUE, once per request parameter, for a model that takes some. VALUE is a
            JSON number, true, false or text.
        timeout: Seconds to wait for the answer, of a model that gives many for the last one.
        timings: Show what the request took on the server, too; of models with one answer.
        json: Print each whole answer as one line of JSON.
    """
    try:
        if not timeout > 0:
            raise UsageError(f"--timeout {timeout:g}: expected more than 0 seconds")
        rows = _rows(random, inputs)
        with connect(address, timeout=timeout) as client:
            # Before the network: a typo needs no server to be found.
            values, wanted = read_values(inputs), read_parameters(parameters)
            each: Prediction | Answered | None = None
            for each in _ask(client.model(model, version), values, rows, wanted, timings=timings):
                _show(each, json=json)
            if isinstance(each, Answered) and each.text is not None and not json:
                print()  # the end of the text that its pieces made
    except InferenceError as error:
        return complain("predict", error.message, FAILED)
    except ValueError as error:  # a bad address or value
        return complain("predict", str(error), MISUSED)
    return 0


def _show(answer: Prediction | Answered, *, json: bool) -> None:
    if isinstance(answer, Answered):
        answer.show(json=json)
    elif json:
        show_json(_document(answer))
    else:
        show(_lines(answer))


def _rows(random: Sequence[int] | None, inputs: Sequence[str]) -> int | None:
    """How many random rows are wanted; None for values that are given."""
    if random is None:
        return None
    if inputs:
        raise UsageError("both --input and --random were given; expected one of them")
    rows = random[0] if random else 1
    if rows < 1:
        raise UsageError(f"--random {rows}: expected 1 row or more")
    return rows


def _ask(
    model: Model,
    values: InputValues,
    rows: int | None,
    parameters: Mapping[str, ParameterValue],
    *,
    timings: bool,
) -> Iterable[Prediction | Answered]:
    """The answer, or those of a model that gives many, as they come."""
    metadata = model.metadata()
    signature = metadata.signature
    if rows is None:
        given = name_values(values, model.name, signature)
    elif rows > 1 and signature.max_batch_size == 0 and all(spec.dims for spec in signature.inputs):
        raise UsageError(
            f"--random {rows}: model '{model.name}' does not batch; leave the number out"
        )
    else:
        given = random_values(signature, rows)
    if metadata.decoupled and timings:
        raise UsageError(
            f"--timings: model '{model.name}' gives many answers; leave the option out"
        )
    if metadata.decoupled:
        return answered(model, metadata, given, parameters)
    return (model.infer(given, parameters=parameters, timings=timings),)


def _lines(prediction: Prediction) -> Iterable[str]:
    timings = prediction.timings
    yield (
        f"{prediction.model} version {prediction.version}, {timings.total * 1e3:.1f} ms "
        f"({timings.call * 1e3:.1f} ms of it for the server and the way there and back)"
    )
    if (server := timings.server) is not None:
        yield (
            f"server: {_ms(server.queue)} ms in the queue, {_ms(server.input)} copying in, "
            f"{_ms(server.compute)} computing, {_ms(server.output)} copying out; "
            f"a batch of {server.batch_size} on {server.device}, instance {server.instance}"
        )
    for name, array in prediction.outputs.items():
        yield ""
        yield from output_lines(name, prediction.datatypes[name], array)
    if prediction.parameters:
        yield ""
        yield from (f"{key} = {value}" for key, value in prediction.parameters.items())


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}"


def _document(prediction: Prediction) -> dict[str, Any]:
    timings = prediction.timings
    document = {
        "model": prediction.model,
        "version": prediction.version,
        "outputs": {
            name: tensor_document(prediction.datatypes[name], array)
            for name, array in prediction.outputs.items()
        },
        "parameters": dict(prediction.parameters),
        "milliseconds": {
            "prepare": timings.prepare * 1e3,
            "call": timings.call * 1e3,
            "read": timings.read * 1e3,
            "total": timings.total * 1e3,
        },
    }
    if (server := timings.server) is not None:
        document["server"] = {
            "milliseconds": {
                "queue": server.queue * 1e3,
                "input": server.input * 1e3,
                "compute": server.compute * 1e3,
                "output": server.output * 1e3,
            },
            "batch_size": server.batch_size,
            "instance": server.instance,
            "device": server.device,
        }
    return document
