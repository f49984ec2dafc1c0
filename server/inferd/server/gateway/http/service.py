"""The paths of the protocol: inference to the dataplane, all else to the gRPC service's methods."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import TypeVar

import msgspec
from google.protobuf.message import Message
from starlette.requests import Request

from inferd.protos import oip_pb2 as oip
from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.http.answers import (
    JSON_LENGTH,
    Answer,
    inference_answer,
    json_answer,
)
from inferd.server.gateway.http.body import Body, read_body
from inferd.server.gateway.http.call import HttpCall
from inferd.server.gateway.http.documents import document_of
from inferd.server.gateway.http.requests import (
    Encoded,
    Parameters,
    encode_raw_request,
    encode_request,
)
from inferd.wire.errors import (
    Forbidden,
    InvalidRequest,
    ModelNotReady,
    ServingError,
    Unavailable,
    Unimplemented,
)

ASIDE_BYTES = 128 << 10
"""JSON beyond this is read and written on a thread of its own: a millisecond for the loop."""

METHODS = "/inference.GRPCInferenceService/"

_INFER = "POST /v2/models/{name}/infer"
_INFER_VERSION = "POST /v2/models/{name}/versions/{version}/infer"

Handle = Callable[[HttpCall], None]
Endpoint = Callable[[Request], Awaitable[Answer]]

Reply = TypeVar("Reply", bound=Message)
Asked = TypeVar("Asked", bound=msgspec.Struct)


class IndexRequest(msgspec.Struct):
    """What is asked of the repository; `ready` leaves out what is not."""

    ready: bool = False


class RepositoryRequest(msgspec.Struct):
    """Loading or unloading."""

    parameters: Parameters = {}


class HttpService:
    """Answers requests on the loop; what takes longer than a moment goes to another thread."""

    def __init__(
        self,
        dataplane: Dataplane,
        methods: Mapping[str, Handle],
        *,
        max_message_bytes: int,
        max_request_time: float,
    ) -> None:
        """`methods` by gRPC path answer serialised requests, from any thread."""
        self._dataplane = dataplane
        self._methods = methods
        self._max_message_bytes = max_message_bytes
        self._max_request_time = max_request_time
        self.calls: set[HttpCall] = set()
        """Those that wait for an answer."""
        self.draining = False

    async def live(self, request: Request) -> Answer:
        """Whether the gateway answers at all."""
        return json_answer({"live": True})

    async def ready(self, request: Request) -> Answer:
        """Whether requests sent now would be executed."""
        reply = await self._ask(
            request, "ServerReady", oip.ServerReadyRequest(), oip.ServerReadyResponse
        )
        if self.draining or not reply.ready:
            raise Unavailable("the server is not ready")
        return json_answer({"ready": True})

    async def metadata(self, request: Request) -> Answer:
        """Name, version and extensions of the server."""
        reply = await self._ask(
            request, "ServerMetadata", oip.ServerMetadataRequest(), oip.ServerMetadataResponse
        )
        return json_answer(document_of(reply))

    async def model_metadata(self, request: Request) -> Answer:
        """Names, datatypes and shapes of a model."""
        asked = oip.ModelMetadataRequest(**_named(request))
        reply = await self._ask(request, "ModelMetadata", asked, oip.ModelMetadataResponse)
        return json_answer(document_of(reply))

    async def model_ready(self, request: Request) -> Answer:
        """Whether a request to the model would be executed; 404 for one that is not known."""
        named = _named(request)
        if not self._dataplane.table.resolve(named["name"], named["version"]).ready:
            raise ModelNotReady(
                f"'{named['name']}' is restarting its workers", metadata={"model": named["name"]}
            )
        return json_answer({"name": named["name"], "ready": True})

    async def model_config(self, request: Request) -> Answer:
        """The model's configuration in Triton's terms."""
        asked = oip.ModelConfigRequest(**_named(request))
        reply = await self._ask(request, "ModelConfig", asked, oip.ModelConfigResponse)
        return json_answer(document_of(reply.config))

    async def model_statistics(self, request: Request) -> Answer:
        """The counts of a version, of a model, or of all."""
        asked = oip.ModelStatisticsRequest(**_named(request))
        reply = await self._ask(request, "ModelStatistics", asked, oip.ModelStatisticsResponse)
        return json_answer(document_of(reply))

    async def repository_index(self, request: Request) -> Answer:
        """Every version of every model and its state."""
        wanted = _decode(await self._body(request), IndexRequest)
        asked = oip.RepositoryIndexRequest(ready=wanted.ready)
        reply = await self._ask(request, "RepositoryIndex", asked, oip.RepositoryIndexResponse)
        return json_answer([document_of(each) for each in reply.models])

    async def load(self, request: Request) -> Answer:
        """Load a model's files anew, and answer once they are served."""
        wanted = await self._repository_request(request)
        if wanted.parameters:
            raise Unimplemented(
                "loading with parameters is not offered: what is served is what lies in the "
                "operator's repository; change the model's files and load again"
            )
        asked = oip.RepositoryModelLoadRequest(model_name=request.path_params["name"])
        await self._ask(request, "RepositoryModelLoad", asked, oip.RepositoryModelLoadResponse)
        return json_answer({})

    async def unload(self, request: Request) -> Answer:
        """Stop serving a model once its requests are answered."""
        await self._repository_request(request)
        asked = oip.RepositoryModelUnloadRequest(model_name=request.path_params["name"])
        await self._ask(request, "RepositoryModelUnload", asked, oip.RepositoryModelUnloadResponse)
        return json_answer({})

    async def infer(self, request: Request) -> Answer:
        """Execute a model."""
        named = _named(request)
        model, version = named["name"], named["version"]
        call = _infer_call(request, _INFER_VERSION if version else _INFER)
        try:
            encoded = await self._encoded(request, model, version)
        except ServingError as error:
            self._refused(call, model, version, error)
            raise
        call.payload = encoded.payload
        payload = await self._outcome(call, self._dataplane.infer)
        if len(payload) > ASIDE_BYTES and not encoded.binary_by_default:
            return await asyncio.to_thread(inference_answer, payload, encoded)
        return inference_answer(payload, encoded)

    def wrong_method(self, request: Request, route: str, error: ServingError) -> None:
        """Hear of a request to a path of inference, refused with this error for its method."""
        named = _named(request)
        call = _infer_call(request, f"{request.method} {route}")
        self._refused(call, named["name"], named["version"], error)

    def _refused(self, call: HttpCall, model: str, version: str, error: ServingError) -> None:
        self._dataplane.refusals.at_the_door(model, version, call.began, error)
        self._dataplane.refused(call, model, version, error)

    async def _encoded(self, request: Request, model: str, version: str) -> Encoded:
        """What a request asks for, as a ModelInferRequest."""
        # What is not there need not be sent here first.
        found = self._dataplane.table.resolve(model, version)
        text = request.headers.get(JSON_LENGTH)
        length = None if text is None else _length(text)
        body = await self._body(request)
        if length == 0:
            return encode_raw_request(model, version, body, found.info.signature)
        if (body.nbytes if length is None else length) > ASIDE_BYTES:
            return await asyncio.to_thread(self._encode, model, version, body, length)
        return self._encode(model, version, body, length)

    def _encode(self, model: str, version: str, body: Body, length: int | None) -> Encoded:
        return encode_request(model, version, body, length, self._max_message_bytes)

    async def _repository_request(self, request: Request) -> RepositoryRequest:
        # A page in a browser on this machine could send this to 127.0.0.1, wherever it came from.
        if "origin" in request.headers:
            raise Forbidden("web pages may not load or unload models; use a program of your own")
        return _decode(await self._body(request), RepositoryRequest)

    async def _body(self, request: Request) -> Body:
        return await read_body(request, self._max_message_bytes, self._max_request_time)

    async def _ask(
        self, request: Request, method: str, message: Message, reply: type[Reply]
    ) -> Reply:
        path = METHODS + method
        call = HttpCall(path, message.SerializeToString(), request.receive)
        return reply.FromString(await self._outcome(call, self._methods[path]))

    async def _outcome(self, call: HttpCall, handle: Handle) -> bytes:
        self.calls.add(call)
        try:
            handle(call)
            return await call.outcome()
        finally:
            self.calls.discard(call)


def _infer_call(request: Request, method: str) -> HttpCall:
    """The call of a request to execute a model, whose body is still to be read."""
    return HttpCall(
        method, b"", request.receive, metadata=request.scope["headers"], began=monotonic()
    )


def _named(request: Request) -> dict[str, str]:
    named = request.path_params
    return {"name": named.get("name", ""), "version": named.get("version", "")}


def _length(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidRequest(f"{JSON_LENGTH} is '{text[:64]}', expected a number of bytes")
    return int(text)


def _decode(body: Body, kind: type[Asked]) -> Asked:
    """What the body says, or what an empty one stands for."""
    text = body.rest()
    if not text:
        return kind()
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not what is expected here: {str(error)[:300]}") from None
