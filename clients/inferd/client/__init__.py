"""The Python client: connect to a server, call its models with numpy or torch.

from inferd.client import connect

with connect("localhost:8001") as client:
    digits = client.model("digits")
    answer = digits(images)  # numpy in, numpy out; torch in, torch out
    for piece in client.model("textgen").stream(["The "]):  # a model that answers many times
        ...
"""

from inferd.client.aio import AsyncClient, connect_async
from inferd.client.aio_model import AsyncModel
from inferd.client.bulk.aio import AsyncBulkAnswers
from inferd.client.bulk.answers import BulkAnswers
from inferd.client.bulk.job import BulkPosition
from inferd.client.client import Client, connect
from inferd.client.errors import (
    AccessDenied,
    AnswerInvalid,
    Cancelled,
    ClientClosed,
    DeadlineExceeded,
    InferenceError,
    InvalidInput,
    LoadFailed,
    ModelFailed,
    ModelNotFound,
    ModelNotReady,
    NotFound,
    Overloaded,
    ServerFault,
    ServerUnavailable,
    Unsupported,
    VersionNotFound,
    WorkerLost,
)
from inferd.client.metadata import (
    BatchStatistics,
    Duration,
    MemoryUsage,
    ModelMetadata,
    ModelState,
    ModelStatistics,
    ResponseStatistics,
    ServerMetadata,
)
from inferd.client.model import Model
from inferd.client.prediction import Answer, ParameterValue, Prediction, ServerTimings, Timings
from inferd.wire.signature import Axis, Signature, TensorSpec

__all__ = [
    "AccessDenied",
    "Answer",
    "AnswerInvalid",
    "AsyncBulkAnswers",
    "AsyncClient",
    "AsyncModel",
    "Axis",
    "BatchStatistics",
    "BulkAnswers",
    "BulkPosition",
    "Cancelled",
    "Client",
    "ClientClosed",
    "DeadlineExceeded",
    "Duration",
    "InferenceError",
    "InvalidInput",
    "LoadFailed",
    "MemoryUsage",
    "Model",
    "ModelFailed",
    "ModelMetadata",
    "ModelNotFound",
    "ModelNotReady",
    "ModelState",
    "ModelStatistics",
    "NotFound",
    "Overloaded",
    "ParameterValue",
    "Prediction",
    "ResponseStatistics",
    "ServerFault",
    "ServerMetadata",
    "ServerTimings",
    "ServerUnavailable",
    "Signature",
    "TensorSpec",
    "Timings",
    "Unsupported",
    "VersionNotFound",
    "WorkerLost",
    "connect",
    "connect_async",
]
