"""The client's public types, as mypy sees them from a caller's module; checked, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, assert_type

import numpy as np

from inferd.client import (
    Answer,
    AsyncClient,
    AsyncModel,
    Client,
    InferenceError,
    InvalidInput,
    Model,
    ModelMetadata,
    ModelState,
    ModelStatistics,
    Prediction,
    ServerMetadata,
    TensorSpec,
    connect,
    connect_async,
)


def synchronous() -> None:
    """Every call of the synchronous client."""
    with connect("localhost:8001", timeout=5.0, retries=False) as client:
        assert_type(client, Client)
        assert_type(client.server_ready(), bool)
        assert_type(client.server_live(timeout=1), bool)
        assert_type(client.metadata(), ServerMetadata)
        assert_type(client.models(ready=True), tuple[ModelState, ...])
        assert_type(client.statistics(), tuple[ModelStatistics, ...])
        client.load("digits")
        client.unload("digits")
        model = client.model("digits", version=1)
        assert_type(model, Model)
        assert_type(model.ready(), bool)
        assert_type(model.metadata(), ModelMetadata)
        assert_type(model.metadata().inputs, tuple[TensorSpec, ...])
        assert_type(model.refresh(), ModelMetadata)
        assert_type(model.statistics(), tuple[ModelStatistics, ...])
        # numpy or torch, one or several: only known when the model has answered.
        assert_type(model(np.zeros((1, 64), np.float32)), Any)
        assert_type(model(image=[[1.0]], timeout=2.0, parameters={"top": 3}), Any)
        prediction = model.infer({"image": [[1.0]]}, outputs=["label"], request_id="a")
        assert_type(prediction, Prediction)
        assert_type(model.stream(["a"], parameters={"length": 3}), Generator[Any, None, None])
        assert_type(prediction.outputs, Answer)
        assert_type(prediction.timings.total, float)
        client.model(3)  # type: ignore[arg-type] # a name is a string
        model(timeout="soon")  # type: ignore[arg-type] # a timeout is in seconds


async def asynchronous() -> None:
    """Every call of the asyncio client."""
    async with connect_async("localhost:8001") as client:
        assert_type(client, AsyncClient)
        assert_type(await client.server_ready(), bool)
        assert_type(await client.models(), tuple[ModelState, ...])
        model = client.model("digits")
        assert_type(model, AsyncModel)
        assert_type(await model(np.zeros((1, 64), np.float32)), Any)
        assert_type(await model.infer(image=[[1.0]]), Prediction)
        assert_type(await model.metadata(), ModelMetadata)
        assert_type(model.stream(["a"]), AsyncGenerator[Any, None])


def failing(model: Model) -> None:
    """Errors have a tree and attributes."""
    try:
        model([1.0])
    except InvalidInput as error:
        assert_type(error.argument, str | None)
    except InferenceError as error:
        assert_type(error.reason, str)
        assert_type(error.retry_after, float | None)
        assert_type(error.metadata, dict[str, str])
