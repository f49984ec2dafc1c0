"""Asks a server for its status."""

from __future__ import annotations

import http.client
from dataclasses import dataclass

import msgspec

from inferd.core.address import Address
from inferd.core.telemetry.status import SCHEMA, Status

DEFAULT = "127.0.0.1:8002"
"""Where servers have their operations port unless they are told otherwise."""

UNREACHABLE = 3
"""Exit code where no server has answered, as opposed to one that is not well."""

PATH = "/status"

_MOST = 64 << 20
"""Bytes of a document; a hundred thousand versions have less."""

_SHOWN = 60
"""Characters of something else that are shown."""


class Unreachable(Exception):
    """No server has answered at the address; the message says what happened and what to do."""


class _Schema(msgspec.Struct, frozen=True):
    schema: int


@dataclass(frozen=True, slots=True)
class Source:
    """The operations port of one server, which gets `timeout` seconds to answer."""

    address: Address
    timeout: float

    @classmethod
    def parse(cls, ops: str, timeout: float) -> Source:
        """The one at HOST:PORT. Raises `ValueError`, which names the option."""
        try:
            address = Address.parse(ops)
        except ValueError as error:
            raise ValueError(f"--ops {ops}: {error}") from None
        if not address.port:
            raise ValueError(f"--ops {ops}: expected the port that a server has, not 0")
        if not timeout > 0:
            raise ValueError(f"--timeout {timeout:g}: expected more than 0 seconds")
        return cls(address, timeout)

    def ask(self) -> Status:
        """The status as of now. Raises `Unreachable`."""
        document = self._get()
        try:
            schema = msgspec.json.decode(document, type=_Schema).schema
            if schema != SCHEMA:
                raise Unreachable(
                    f"the server at {self.address} tells its status in schema {schema}, and this "
                    f"inferd reads schema {SCHEMA}; use the inferd of the server's version"
                )
            return msgspec.json.decode(document, type=Status)
        except msgspec.MsgspecError as error:
            raise self._no_inferd(
                f"{PATH} gave {_beginning(document)}, which is no status ({error})"
            ) from None

    def _get(self) -> bytes:
        # Neither a proxy nor a redirect has anything to do with a port for operators.
        connection = http.client.HTTPConnection(
            self.address.host, self.address.port, timeout=self.timeout
        )
        try:
            connection.request("GET", PATH)
            response = connection.getresponse()
            document = response.read(_MOST)
        except TimeoutError:
            raise Unreachable(
                f"the server at {self.address} does not answer within {self.timeout:g} s"
            ) from None
        except ConnectionRefusedError:
            raise Unreachable(
                f"nothing listens at {self.address}; start a server with inferd serve, or name the "
                "operations port of another one with --ops HOST:PORT (ops in its ready file)"
            ) from None
        except ConnectionError:
            raise self._no_inferd("it closed the connection without an answer") from None
        except http.client.HTTPException as error:
            raise self._no_inferd(f"it does not speak HTTP/1.1; {_what(error)}") from None
        except OSError as error:
            raise Unreachable(f"{self.address} cannot be reached: {error.strerror}") from None
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise self._no_inferd(
                f"{PATH} gave {response.status} {response.reason} and {_beginning(document)}"
            )
        return document

    def _no_inferd(self, why: str) -> Unreachable:
        return Unreachable(
            f"what listens at {self.address} is not the operations port of an inferd that this one "
            f"knows: {why}; name that port with --ops HOST:PORT"
        )


def _beginning(document: bytes) -> str:
    if not document:
        return "nothing"
    text = document[:_SHOWN].decode("utf-8", "backslashreplace")
    return f"'{text}…'" if len(document) > _SHOWN else f"'{text}'"


def _what(error: http.client.HTTPException) -> str:
    said = str(error)
    if "\0" in said:
        return "it may be the gRPC port"
    return f"it said {_beginning(said.encode())}"
