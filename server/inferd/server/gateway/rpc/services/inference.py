"""inference.GRPCInferenceService: the Open Inference Protocol with Triton's extensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from importlib.metadata import version as package_version

from google.protobuf.message import Message

from inferd.core.link.messages import VersionCounts
from inferd.core.telemetry.counts import Counts, sum_of
from inferd.protos import oip_pb2 as oip
from inferd.protos.services import INFERENCE_METHODS
from inferd.server.gateway.access_log import AccessLog
from inferd.server.gateway.counts import counts_of
from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.others import Memory
from inferd.server.gateway.routing.table import check_name
from inferd.server.gateway.rpc.access import streams_logged, unary_logged
from inferd.server.gateway.rpc.call import Method, Stream, Unary, UnaryCall
from inferd.server.gateway.rpc.faults import unexpected
from inferd.server.gateway.rpc.services.decoding import decode
from inferd.server.gateway.rpc.services.descriptions import config_of, metadata_of, statistics_of
from inferd.server.gateway.rpc.services.inference_stream import InferenceStreams
from inferd.server.gateway.scheduling.deployment import Deployment
from inferd.server.gateway.scheduling.deployment_info import DeploymentInfo
from inferd.wire.errors import Forbidden, InvalidRequest, ServingError, Unimplemented

EXTENSIONS = (
    "model_repository",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "classification",
    "sequence",
)
"""Announced because they work; clients change their behaviour on these words."""

Command = Callable[[str, str, Callable[[ServingError | None], None]], None]
"""Verb (`load` or `unload`), model, and who is told the outcome, on any thread."""


class InferenceService:
    """Everything but ModelInfer runs on a pool, away from the thread that carries the traffic."""

    def __init__(
        self,
        dataplane: Dataplane,
        pool: Executor,
        *,
        server_ready: Callable[[], bool],
        command: Command | None,
        other_counts: Callable[[Callable[[Counts, Memory], None]], None],
        report: Callable[[], None],
        more: Mapping[str, Callable[[UnaryCall], None]],
        extensions: Sequence[str] = (),
        access: AccessLog | None = None,
    ) -> None:
        """`command` performs load and unload; None where the operator does not allow them.

        `other_counts` finds out what other gateways have counted and what models take, and tells
        it, on any thread;
        `report` sends what this one has to the supervisor. `more` are handlers of the service's
        other methods by name; `extensions` are announced besides those that always work; `access`
        logs inference requests.
        """
        self._dataplane = dataplane
        self._pool = pool
        self._server_ready = server_ready
        self._command = command
        self._other_counts = other_counts
        self._report = report
        self._table = dataplane.table
        self._more = more
        self._extensions = (*EXTENSIONS, *extensions)
        self._infer = unary_logged(dataplane, access)
        self._streams = InferenceStreams(streams_logged(dataplane.infer, access))

    def close(self) -> None:
        """End every stream after the answers that it is owed."""
        self._streams.close()

    def methods(self) -> Mapping[str, Method]:
        """The service's methods by path."""
        known: dict[str, Callable[[UnaryCall], None]] = {
            **self._more,
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready_call,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        methods: dict[str, Method] = {}
        for name, method in INFERENCE_METHODS.items():
            if name == "ModelInfer":
                methods[method.path] = Unary(self._infer)
            elif name == "ModelStreamInfer":
                methods[method.path] = Stream(self._streams.handle)
            else:
                methods[method.path] = Unary(self._pooled(known[name]))
        return methods

    def _pooled(self, handle: Callable[[UnaryCall], None]) -> Callable[[UnaryCall], None]:
        def run(call: UnaryCall) -> None:
            try:
                handle(call)
            except ServingError as error:
                call.fail(error)
            except Exception as error:  # the last resort: logged in full, told as an id
                call.fail(unexpected(error, call.method))

        def handle_later(call: UnaryCall) -> None:
            self._pool.submit(run, call)

        return handle_later

    def _server_live(self, call: UnaryCall) -> None:
        decode(oip.ServerLiveRequest, call.payload)
        _reply(call, oip.ServerLiveResponse(live=True))

    def _server_ready_call(self, call: UnaryCall) -> None:
        decode(oip.ServerReadyRequest, call.payload)
        _reply(call, oip.ServerReadyResponse(ready=self._server_ready()))

    def _model_ready(self, call: UnaryCall) -> None:
        request = decode(oip.ModelReadyRequest, call.payload)
        _reply(
            call, oip.ModelReadyResponse(ready=self._table.is_ready(request.name, request.version))
        )

    def _server_metadata(self, call: UnaryCall) -> None:
        decode(oip.ServerMetadataRequest, call.payload)
        metadata = oip.ServerMetadataResponse(name="inferd", version=package_version("inferd"))
        metadata.extensions.extend(self._extensions)
        _reply(call, metadata)

    def _model_metadata(self, call: UnaryCall) -> None:
        request = decode(oip.ModelMetadataRequest, call.payload)
        info = self._table.resolve(request.name, request.version).info
        versions = self._table.models().get(info.model, {})
        served = [number for number, each in sorted(versions.items()) if each.deployment]
        _reply(call, metadata_of(info, served))

    def _model_config(self, call: UnaryCall) -> None:
        request = decode(oip.ModelConfigRequest, call.payload)
        info = self._table.resolve(request.name, request.version).info
        _reply(call, oip.ModelConfigResponse(config=config_of(info)))

    def _model_statistics(self, call: UnaryCall) -> None:
        request = decode(oip.ModelStatisticsRequest, call.payload)
        asked = [each.info for each in self._asked(request.name, request.version)]

        def told(others: Counts, memory: Memory) -> None:
            self._pooled(lambda call: self._tell_statistics(call, asked, others, memory))(call)

        # Asked now, when every answer that the caller has had is counted wherever it came from.
        self._other_counts(told)

    def _tell_statistics(
        self, call: UnaryCall, asked: Sequence[DeploymentInfo], others: Counts, memory: Memory
    ) -> None:
        response = oip.ModelStatisticsResponse()
        for info in asked:
            total = sum_of(self._counted(info), others.of(info.model, info.version))
            usage = memory.get((info.model, info.version), ())
            response.model_stats.append(statistics_of(total, usage))
        # What a caller was told outlives this process, however it ends.
        self._report()
        _reply(call, response)

    def _counted(self, info: DeploymentInfo) -> VersionCounts:
        """What this gateway has counted of a version, every answer it sent included."""
        counts: list[VersionCounts] = []
        self._dataplane.statistics(
            info.model,
            info.version,
            lambda found: counts.append(counts_of(info.model, info.version, found)),
        )
        return counts[0]

    def _asked(self, model: str, version: str) -> list[Deployment]:
        """The deployments of every version of every model, of one model, or one version alone."""
        if model and version:
            return [self._table.resolve(model, version)]
        if version:
            raise InvalidRequest(
                f"version '{version[:64]}' is given without a model's name", field="name"
            )
        if model:
            self._table.resolve(model, "")
        return [
            each.deployment
            for name, versions in sorted(self._table.models().items())
            for _, each in sorted(versions.items())
            if each.deployment is not None and name == (model or name)
        ]

    def _repository_index(self, call: UnaryCall) -> None:
        request = decode(oip.RepositoryIndexRequest, call.payload)
        _refuse_other_repository(request.repository_name)
        response = oip.RepositoryIndexResponse()
        for model, versions in sorted(self._table.models().items()):
            for number, each in sorted(versions.items()):
                ready = each.deployment is not None and each.deployment.ready
                if request.ready and not ready:
                    continue
                response.models.add(
                    name=model,
                    version=str(number) if number else "",
                    state=each.state.state,
                    reason=each.state.reason,
                )
        _reply(call, response)

    def _load(self, call: UnaryCall) -> None:
        request = decode(oip.RepositoryModelLoadRequest, call.payload)
        _refuse_other_repository(request.repository_name)
        if request.parameters:
            names = ", ".join(f"'{key[:64]}'" for key in sorted(request.parameters)[:8])
            raise Unimplemented(
                f"loading with parameters ({names}) is not offered: what is served is what lies "
                "in the operator's repository; change the model's files and load again"
            )
        self._perform(call, "load", request.model_name, oip.RepositoryModelLoadResponse())

    def _unload(self, call: UnaryCall) -> None:
        request = decode(oip.RepositoryModelUnloadRequest, call.payload)
        _refuse_other_repository(request.repository_name)
        self._perform(call, "unload", request.model_name, oip.RepositoryModelUnloadResponse())

    def _perform(self, call: UnaryCall, verb: str, model: str, response: Message) -> None:
        if self._command is None:
            raise Forbidden(
                f"explicit model {verb} is switched off here; the operator allows it with "
                "repository_control = true"
            )
        check_name(model)

        def done(error: ServingError | None) -> None:
            if error is None:
                _reply(call, response)
            else:
                call.fail(error)

        self._command(verb, model, done)


def _reply(call: UnaryCall, response: Message) -> None:
    call.reply(response.SerializeToString())


def _refuse_other_repository(name: str) -> None:
    if name:
        raise InvalidRequest(
            f"repository_name is '{name[:64]}', but this server has one repository, without a "
            "name; leave it empty",
            field="repository_name",
        )
