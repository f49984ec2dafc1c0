"""Settings: where they come from, which one wins, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferd.core import settings
from inferd.core.address import Address
from inferd.core.settings import Settings, SettingsError


def _file(folder: Path, text: str) -> Path:
    path = folder / "inferd.toml"
    path.write_text(text)
    return path


def _mistakes(
    *, options: dict[str, object] | None = None, env: dict[str, str] | None = None, config: Path
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings.read(options, env or {}, config)
    return str(caught.value).splitlines()


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A file that sets nothing, so that no inferd.toml of the working directory is read."""
    return _file(tmp_path, "")


def test_defaults(empty: Path) -> None:
    """Nothing given: loopback, 64 MiB, a minute, and clients may load models."""
    read = settings.read({}, {}, empty)
    assert read == Settings()
    assert str(read.grpc) == "127.0.0.1:8001"
    assert (read.max_message_bytes, read.max_request_time) == (64 << 20, 60.0)
    assert read.may_control_repository
    assert read.devices == ("auto",)
    assert read.door == "auto"


def test_options_win_over_variables_and_those_over_the_file(tmp_path: Path) -> None:
    """CLI > environment > file > defaults, key by key."""
    config = _file(tmp_path, 'grpc = "127.0.0.1:1"\ngrace = 1\nload_timeout = 1')
    env = {"INFERD_GRPC": "127.0.0.1:2", "INFERD_GRACE": "2"}
    read = settings.read({"grpc": "127.0.0.1:3", "grace": None}, env, config)
    assert (read.grpc.port, read.grace, read.load_timeout) == (3, 2.0, 1.0)


def test_without_config_the_working_directory_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """./inferd.toml is read where it is there, and its absence is no mistake."""
    monkeypatch.chdir(tmp_path)
    assert settings.read({}, {}).grace == 30.0
    _file(tmp_path, "grace = 7")
    assert settings.read({}, {}).grace == 7.0


def test_paths_in_the_file_are_relative_to_it(tmp_path: Path) -> None:
    """A file elsewhere names models beside itself."""
    config = _file(tmp_path, 'models = ["models", "/abs"]\nready_file = "ready.json"')
    read = settings.read({}, {}, config)
    assert read.models == (tmp_path / "models", Path("/abs"))
    assert read.ready_file == tmp_path / "ready.json"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1), ("64MiB", 64 << 20), ("64 MB", 64_000_000), ("1GiB", 1 << 30), ("3kib", 3072)],
)
def test_sizes_have_units(empty: Path, text: str, expected: int) -> None:
    """Binary and decimal units, and plain bytes."""
    read = settings.read({}, {"INFERD_MAX_MESSAGE_BYTES": text}, empty)
    assert read.max_message_bytes == expected


def test_lists_in_variables_are_separated_by_commas(empty: Path) -> None:
    """INFERD_MODELS and the like hold more than one."""
    env = {"INFERD_MODELS": "a, b.pt2", "INFERD_TRUST": "echo", "INFERD_DEVICES": "cpu,cuda:1"}
    read = settings.read({}, env, empty)
    assert read.models == (Path("a"), Path("b.pt2"))
    assert read.devices == ("cpu", "cuda:1")
    assert read.override("echo").trust
    assert not read.override("other").trust


@pytest.mark.parametrize(
    ("env", "expected"),
    [({}, 1), ({"INFERD_GATEWAYS": "auto"}, "auto"), ({"INFERD_GATEWAYS": "64"}, 64)],
)
def test_how_many_gateways(empty: Path, env: dict[str, str], expected: int | str) -> None:
    """One unless a number, or to find one out, is asked for."""
    assert settings.read({}, env, empty).gateways == expected
    assert settings.read({"gateways": "3"}, env, empty).gateways == 3


def test_tables_for_single_models(tmp_path: Path) -> None:
    """[model.NAME] is the operator's word on one model."""
    config = _file(
        tmp_path, '[model.echo]\ntrust = true\nversions = [3, 1]\ndevices = ["cpu"]\nthreads = 2'
    )
    override = settings.read({}, {}, config).override("echo")
    assert (override.trust, override.versions, override.threads) == (True, (3, 1), 2)
    assert override.devices == ("cpu",)
    assert override.max_batch_size is None


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"INFERD_GRCP": "x"}, "variable INFERD_GRCP is not a setting; did you mean INFERD_GRPC?"),
        ({"INFERD_GRACE": "soon"}, "variable INFERD_GRACE is 'soon': expected a number"),
        ({"INFERD_GRACE": "-1"}, "variable INFERD_GRACE is '-1'"),
        ({"INFERD_GRACE": "nan"}, "variable INFERD_GRACE is 'nan'"),
        ({"INFERD_INSECURE": "perhaps"}, "'perhaps': expected true or false"),
        ({"INFERD_MAX_MESSAGE_BYTES": "lots"}, "'lots': expected a size such as 67108864"),
        ({"INFERD_MAX_MESSAGE_BYTES": "0"}, "variable INFERD_MAX_MESSAGE_BYTES is '0'"),
        ({"INFERD_LOG_LEVEL": "loud"}, "expected 'debug', 'info', 'warning' or 'error'"),
        ({"INFERD_DEVICES": ","}, "expected at least one device"),
        ({"INFERD_GRPC": "8001"}, "expected HOST:PORT"),
        ({"INFERD_GATEWAYS": "0"}, "'0': expected auto or a number of processes from 1 to 64"),
        ({"INFERD_GATEWAYS": "many"}, "variable INFERD_GATEWAYS is 'many': expected auto or"),
    ],
)
def test_bad_variables_are_named(empty: Path, env: dict[str, str], expected: str) -> None:
    """The message has the variable, what arrived and what was expected."""
    (line,) = _mistakes(env=env, config=empty)
    assert expected in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('gprc = "x"', "key gprc in {}: there is no such setting; did you mean grpc?"),
        ("models = 3", "key models in {} is 3: expected a list"),
        (
            "[model.x]\ntrsut = true",
            "key model in {}, x.trsut: there is no such setting; did you mean trust?",
        ),
        ("[model.x]\ninstances = 0", "key model in {}, x.instances is 0"),
        ("[model.x]\nversions = [0]", 'expected "latest", "all" or a list of version numbers'),
        ("[model]\nx = 1", "key model in {}, x is 1: expected a table"),
        ("grace = ", "{} cannot be read as TOML"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, expected: str) -> None:
    """The message has the key, the file, what arrived and what was expected."""
    config = _file(tmp_path, text)
    (line,) = _mistakes(config=config)
    assert expected.format(config) in line


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """One line per mistake, options by their own names."""
    config = _file(tmp_path, 'log_level = "loud"')
    lines = _mistakes(options={"load_timeout": "x"}, env={"INFERD_GRACE": "y"}, config=config)
    assert len(lines) == 3
    assert any("option --load-timeout is 'x'" in line for line in lines)


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    """--config with a typo is a mistake."""
    (line,) = _mistakes(config=tmp_path / "absent.toml")
    assert "no such file" in line


def test_service_links_of_kubernetes_are_no_settings(empty: Path) -> None:
    """A service called `inferd` puts INFERD_PORT and its kin into every pod."""
    env = {
        "INFERD_PORT": "tcp://10.0.0.1:8001",
        "INFERD_PORT_8001_TCP_ADDR": "10.0.0.1",
        "INFERD_SERVICE_HOST": "10.0.0.1",
        "INFERD_SERVICE_PORT_GRPC": "8001",
    }
    assert settings.read({}, env, empty) == Settings()


@pytest.mark.parametrize("address", ["0.0.0.0:8001", "[::]:0", "example.org:1", "10.0.0.1:1"])
def test_other_machines_only_with_insecure(empty: Path, address: str) -> None:
    """An address that others reach needs the operator's word, and then closes the repository."""
    (line,) = _mistakes(options={"grpc": address}, config=empty)
    assert "option --grpc" in line
    assert "--insecure" in line
    read = settings.read({"grpc": address, "insecure": True}, {}, empty)
    assert not read.may_control_repository


@pytest.mark.parametrize("address", ["0.0.0.0:8000", "[::]:0", "10.0.0.1:1"])
def test_the_same_holds_for_http(empty: Path, address: str) -> None:
    """One door that others reach is enough to close the repository."""
    (line,) = _mistakes(options={"http": address}, config=empty)
    assert "option --http" in line
    assert "such as 127.0.0.1:8000, or --insecure" in line
    read = settings.read({"http": address, "insecure": True}, {}, empty)
    assert read.grpc.is_loopback
    assert not read.may_control_repository


def test_http_can_be_switched_off(empty: Path) -> None:
    """By option, variable or key; what is no address says what one is."""
    assert settings.read({"http": "off"}, {}, empty).http is None
    assert settings.read({}, {"INFERD_HTTP": "off"}, empty).http is None
    assert settings.read({}, {}, empty).http == Address("127.0.0.1", 8000)
    assert settings.read({"http": "off"}, {}, empty).may_control_repository
    (line,) = _mistakes(options={"http": "no"}, config=empty)
    assert "option --http is 'no': expected HOST:PORT" in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0, True)),
        ("127.8.8.8:1", ("127.8.8.8", 1, True)),
        ("localhost:65535", ("localhost", 65535, True)),
        ("[::1]:1", ("::1", 1, True)),
        ("[::]:1", ("::", 1, False)),
        ("server:1", ("server", 1, False)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int, bool]) -> None:
    """HOST:PORT there and back, and who can reach it."""
    address = Address.parse(text)
    assert (address.host, address.port, address.is_loopback) == expected
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", ":1", "::1:1", "[x]:1", "h:65536", "h:-1", "h:", "a b:1", "h:\u0661"]
)
def test_bad_addresses(text: str) -> None:
    """Whatever is not HOST:PORT is refused."""
    with pytest.raises(ValueError, match=r"."):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grace = -1", "key grace in {} is -1: expected at least 0"),
        ("load_timeout = 0", "key load_timeout in {} is 0: expected more than 0"),
        ('max_message_bytes = "2GiB"', "key max_message_bytes in {} is '2GiB': expected at most"),
        ("ready_file = 3", "key ready_file in {} is 3: expected text"),
        ("devices = [1]", "key devices in {}, 0 is 1: expected text"),
        ("gateways = 65", "key gateways in {} is 65: expected auto or a number of processes from"),
        ("gateways = true", "key gateways in {} is True: expected auto or"),
    ],
)
def test_what_was_expected_is_told_in_plain_words(tmp_path: Path, text: str, expected: str) -> None:
    """Bounds and types without the names that Python has for them; gRPC's own bound is known."""
    config = _file(tmp_path, text)
    (line,) = _mistakes(config=config)
    assert line.startswith(expected.format(config))


def test_options_go_by_the_name_that_was_typed(empty: Path) -> None:
    """The key of --device is devices; who typed the one should not read the other."""
    (line,) = _mistakes(options={"devices": ()}, config=empty)
    assert line.startswith("option --device is ()")
