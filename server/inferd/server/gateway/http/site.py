"""The ASGI application: finds the endpoint, refuses while the server drains, turns errors into answers."""

from __future__ import annotations

from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from inferd.server.gateway.http.answers import Answer, error_answer, json_answer
from inferd.server.gateway.http.openapi import PATH, openapi_document
from inferd.server.gateway.http.routes import OPERATIONS, Operation
from inferd.server.gateway.http.service import Endpoint, HttpService
from inferd.wire.errors import Draining, MethodNotAllowed, PathNotFound, ServingError

_LIVE = "/v2/health/live"


class Site:
    """What uvicorn calls once per request."""

    def __init__(
        self, service: HttpService, unexpected: Callable[[BaseException, str], ServingError]
    ) -> None:
        """`unexpected` logs an error that nobody foresaw; what it returns is for the caller."""
        self._service = service
        self._unexpected = unexpected
        routes = [
            Route(
                each.path,
                _Application(getattr(service, each.endpoint), each),
                methods=[each.method],
            )
            for each in OPERATIONS
        ]
        document = openapi_document()

        async def openapi(_: Request) -> Answer:
            return json_answer(document)

        routes.append(Route(PATH, _Application(openapi), methods=["GET"]))
        self._router = Router(routes, redirect_slashes=False, default=_nothing_there)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["app"] = self  # or the router would answer a wrong method in a way of its own
        try:
            route = self._refuse if self._drains(scope) else self._router
            await route(scope, receive, send)
        except ServingError as error:
            await error_answer(error)(scope, receive, send)
        except HTTPException as error:  # the router's, for a method that a path does not have
            allowed = (error.headers or {}).get("Allow", "")
            refusal = MethodNotAllowed(
                f"{scope['path'][:128]} takes {allowed}, not {scope['method'][:16]}",
                metadata={"allow": allowed},
            )
            if (path := _inference_path(scope)) is not None:
                self._service.wrong_method(Request(scope, receive), path, refusal)
            await error_answer(refusal)(scope, receive, send)
        except Exception as error:  # the last resort: logged in full, told as an id
            await error_answer(self._unexpected(error, "HTTP"))(scope, receive, send)

    def _drains(self, scope: Scope) -> bool:
        return self._service.draining and scope["path"] != _LIVE

    @staticmethod
    async def _refuse(_: Scope, __: Receive, ___: Send) -> None:
        raise Draining("the server is shutting down; call another one")


class _Application:
    """An endpoint without the wrappers that the router puts around functions."""

    def __init__(self, endpoint: Endpoint, operation: Operation | None = None) -> None:
        self._endpoint = endpoint
        self.operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._endpoint(Request(scope, receive))
        await answer(scope, receive, send)


def _inference_path(scope: Scope) -> str | None:
    """The path with its placeholders, of a request to execute a model."""
    operation: Operation | None = scope["endpoint"].operation
    if operation is None or operation.endpoint != "infer":
        return None
    return operation.path


async def _nothing_there(scope: Scope, _: Receive, __: Send) -> None:
    raise PathNotFound(f"nothing is served at {scope['path'][:128]}; {PATH} says what is")
