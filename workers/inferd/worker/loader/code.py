"""Models in their author's own code: `model.py` with one subclass of Model."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from inferd.core.link.messages import ModelSource
from inferd.core.telemetry import logs
from inferd.wire.errors import LoadFailed, OutputInvalid
from inferd.wire.signature import Signature, TensorSpec
from inferd.worker.faults import brief
from inferd.worker.loader.loaded import Answers, LoadedModel, Parameters
from inferd.worker.model import Answer, Array, Model, Value

_log = logs.get_logger(__name__)

_MODULE = "inferd_model"
_PARAMETERS = "parameters"


def load_code(source: ModelSource, device: torch.device) -> LoadedModel:
    """Import `model.py`, make its one model and let it load. Raises `LoadFailed`."""
    if not source.inputs or not source.outputs:
        raise LoadFailed(
            "own code tells no signature: list its [[input]] and [[output]] tensors in model.toml"
        )
    folder = Path(source.path)
    kind = _the_class(_import(folder))
    try:
        model = kind()
        model.device, model.folder = device, folder
        model.load(device)
        predict = inspect.signature(model.predict)
    # A model may raise anything, SystemExit too; it must not end the process without a word.
    except BaseException as error:
        _log.error("the model did not load", model=source.name, exc_info=error)
        raise LoadFailed(f"model.py failed to load the model: {brief(error)}") from error
    takes_parameters = _takes_parameters(predict, source.inputs)
    _check_callable(predict, source.inputs, takes_parameters=takes_parameters)
    call = _Call(source, model, takes_parameters=takes_parameters)
    decoupled = inspect.isgeneratorfunction(model.predict)
    if decoupled and source.max_batch_size:
        raise LoadFailed(
            f"predict() is a generator, which answers one request at a time, but max_batch_size is "
            f"{source.max_batch_size}: leave it out of model.toml, or set it to 0"
        )
    return LoadedModel(
        name=source.name,
        platform="pytorch_code",
        signature=Signature(source.inputs, source.outputs, source.max_batch_size or 0),
        takes_parameters=takes_parameters,
        execute=call.first if decoupled else call,
        generate=call.generate if decoupled else None,
    )


class _Call:
    """From tensors in order to tensors by name, and back."""

    def __init__(self, source: ModelSource, model: Model, *, takes_parameters: bool) -> None:
        self._model = source.name
        self._inputs = tuple(spec.name for spec in source.inputs)
        self._outputs = tuple(spec.name for spec in source.outputs)
        self._predict: Any = model.predict
        self._takes_parameters = takes_parameters

    def __call__(self, inputs: Sequence[Value | None], parameters: Parameters) -> Sequence[Value]:
        return self._tensors(self._predict(**self._arguments(inputs, parameters)))

    def generate(self, inputs: Sequence[Value | None], parameters: Parameters) -> Answers:
        """What the model's generator yields; closing this closes it."""
        with closing(self._predict(**self._arguments(inputs, parameters))) as answers:
            while True:
                try:
                    answer = next(answers)
                except StopIteration as end:
                    return None if end.value is None else self._tensors(end.value)
                yield self._tensors(answer)

    def first(self, inputs: Sequence[Value | None], parameters: Parameters) -> Sequence[Value]:
        """The first answer of the model's generator, which is then closed; nothing if it has none."""
        with closing(self.generate(inputs, parameters)) as answers:
            try:
                return next(answers)
            except StopIteration as end:
                return end.value or ()

    def _arguments(
        self, inputs: Sequence[Value | None], parameters: Parameters
    ) -> dict[str, object]:
        named: dict[str, object] = {
            name: value
            for name, value in zip(self._inputs, inputs, strict=True)
            if value is not None
        }
        if self._takes_parameters:
            named[_PARAMETERS] = parameters or {}
        return named

    def _tensors(self, answer: Answer) -> Sequence[Value]:
        return [self._tensor(name, value) for name, value in self._named(answer).items()]

    def _named(self, answer: Answer) -> Mapping[str, Value]:
        """The answer by name, in the signature's order."""
        expected = self._outputs
        if not isinstance(answer, Mapping):
            if len(expected) > 1:
                raise OutputInvalid(
                    f"model '{self._model}' has {len(expected)} outputs ({', '.join(expected)}) but "
                    f"returned no mapping of names to tensors"
                )
            return {expected[0]: answer}
        if answer.keys() != set(expected):
            raise OutputInvalid(
                f"model '{self._model}' returned the outputs {_listed(answer)}; its model.toml "
                f"declares {_listed(expected)}"
            )
        return {name: answer[name] for name in expected}

    def _tensor(self, name: str, value: object) -> Value:
        """As a torch tensor, or as a numpy array of bytes objects."""
        if isinstance(value, torch.Tensor):
            return value
        if not isinstance(value, np.ndarray):
            raise OutputInvalid(
                f"model '{self._model}' returned something else than a tensor or array as output "
                f"'{name}'"
            )
        if value.dtype.kind in "OSU":
            return self._bytes(name, value)
        native = np.require(value, value.dtype.newbyteorder("="), ["C", "W"])
        try:
            return torch.from_numpy(native)
        except TypeError:
            raise OutputInvalid(
                f"model '{self._model}' returned output '{name}' as {value.dtype}, which the "
                f"protocol does not have"
            ) from None

    def _bytes(self, name: str, value: Array) -> Array:
        elements: Array = np.empty(value.size, dtype=np.object_)
        for index, element in enumerate(value.reshape(-1).tolist()):
            if not isinstance(element, bytes | str):
                raise OutputInvalid(
                    f"model '{self._model}' returned output '{name}' with an element that is "
                    f"neither bytes nor text"
                )
            elements[index] = element.encode() if isinstance(element, str) else element
        return elements.reshape(value.shape)


def _import(folder: Path) -> ModuleType:
    file = folder / "model.py"
    # The repository is not ours to write into; and model.py may import what stands beside it.
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(_MODULE, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise LoadFailed("the version folder has no model.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # the file may raise anything, SystemExit too
        _log.error("model.py could not be imported", exc_info=error)
        raise LoadFailed(f"model.py could not be imported: {brief(error)}") from error
    return module


def _the_class(module: ModuleType) -> type[Model]:
    found = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Model) and kind.__module__ == _MODULE
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise LoadFailed(
            f"model.py defines {len(found)} models ({_listed(k.__name__ for k in found)}); "
            f"expected one subclass of inferd.worker.model.Model: move the others to a file beside it"
        )
    raise LoadFailed("model.py defines no subclass of inferd.worker.model.Model")


def _takes_parameters(predict: inspect.Signature, inputs: Sequence[TensorSpec]) -> bool:
    """Whether `predict` asks for the request's parameters, by name; an input of that name wins."""
    parameter = predict.parameters.get(_PARAMETERS)
    return (
        parameter is not None
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and all(spec.name != _PARAMETERS for spec in inputs)
    )


def _check_callable(
    predict: inspect.Signature, inputs: Sequence[TensorSpec], *, takes_parameters: bool
) -> None:
    extra = {_PARAMETERS: None} if takes_parameters else {}
    required = {spec.name: None for spec in inputs if not spec.optional}
    for names in (required, {spec.name: None for spec in inputs}):
        try:
            predict.bind(**names, **extra)
        except TypeError as error:
            raise LoadFailed(
                f"predict() cannot be called with the inputs that model.toml declares "
                f"({_listed(names)}): {brief(error)}"
            ) from None


def _listed(names: object) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"  # type: ignore[attr-defined] # any iterable
