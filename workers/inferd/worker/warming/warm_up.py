"""The first runs of a model, before anyone waits for them."""

from __future__ import annotations

import torch

from inferd.core.telemetry import logs
from inferd.wire.errors import LoadFailed, OutputInvalid
from inferd.worker.faults import brief, is_out_of_memory
from inferd.worker.loader.loaded import LoadedModel
from inferd.worker.runner.outputs import OutputCheck
from inferd.worker.warming.samples import sample_inputs

_log = logs.get_logger(__name__)


def warm_up(model: LoadedModel, device: torch.device) -> bool:
    """Run the model on made-up inputs, on a ladder of batch sizes; whether it took them all.

    Under inference mode.

    Raises `LoadFailed` when memory runs out, or when an exported program cannot run at all. Own code
    may well refuse made-up inputs: that is logged.
    """
    check = OutputCheck(model.name, model.signature)
    for rows in ladder(model.signature.max_batch_size):
        inputs = sample_inputs(model.signature, model.usual_sizes, device, rows)
        if inputs is None:
            _log.info("not warmed up: its dimensions depend on each other", model=model.name)
            return False
        try:
            values = model.execute(inputs, None)
            if values or model.generate is None:  # a generator may have no answer
                check.check(values, tuple(tuple(i.shape) for i in inputs))
            if device.type == "cuda":
                torch.cuda.synchronize()
        except BaseException as error:  # own code may raise anything
            _judge(error, model, rows)
            return False
    return True


def ladder(max_batch_size: int) -> list[int]:
    """1, 2, 4 and so on up to the largest batch, that one included."""
    sizes = [1]
    while 2 * sizes[-1] <= max_batch_size:
        sizes.append(2 * sizes[-1])
    if max_batch_size > sizes[-1]:
        sizes.append(max_batch_size)
    return sizes


def _judge(error: BaseException, model: LoadedModel, rows: int) -> None:
    """Raise if the model is of no use; otherwise say that it went on without warming up."""
    if is_out_of_memory(error):
        raise LoadFailed(
            f"memory ran out while warming up with {rows} rows; lower max_batch_size"
        ) from error
    if model.platform == "pytorch_export":
        _log.error("the program failed to warm up", model=model.name, rows=rows, exc_info=error)
        raise LoadFailed(f"the program failed on a batch of {rows} rows: {brief(error)}") from error
    declared = all(spec.dims is not None for spec in model.signature.inputs)
    if declared and isinstance(error, OutputInvalid):
        raise LoadFailed(f"the answer to a made-up batch does not fit: {brief(error)}") from error
    _log.warning(
        "not warmed up: the model refused made-up inputs", model=model.name, exc_info=error
    )
