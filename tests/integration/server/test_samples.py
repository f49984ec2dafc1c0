"""The samples of `inferd stubs`, built as their READMEs say and run against a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from inferd.client import connect
from support.server import Server

BUILT = Path(__file__).parents[2] / ".built" / "samples"
"""Kept between runs: a C++ compiler takes a minute for the generated code."""

DEBIAN_JARS = Path("/usr/share/java")
DEBIAN_GO = Path("/usr/share/gocode")
INSTALL = "scripts/sample_tools.sh installs what is missing"

pytestmark = pytest.mark.timeout(400)  # compilers, where nothing is built yet

Program = Sequence[str]


@pytest.fixture(scope="module", params=["node", "go", "java", "cpp"])
def program(request: pytest.FixtureRequest) -> Program:
    """The sample of one language, built; skipped where a tool for that is missing."""
    return BUILDERS[request.param](BUILT)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("breast-cancer", {"features": np.arange(30, dtype=np.float32)[None] / np.float32(10)}),
        ("recommend", {"user": np.ones(1, np.int64), "item": np.ones(1, np.int64)}),
    ],
)
def test_a_sample_predicts(
    program: Program, examples: Server, name: str, inputs: Mapping[str, object]
) -> None:
    """Health, metadata, and the numbers that the Python client gets for the same input."""
    asked = _run([*program, examples.address, name])
    assert asked.returncode == 0, asked.stderr
    server, model, *lines = asked.stdout.splitlines()
    assert server.startswith("server inferd ")
    assert server.endswith(" live=true ready=true")
    assert model == f"model {name} versions=1"
    with connect(examples.address) as client:
        metadata = client.model(name).metadata()
        expected = client.model(name).infer(inputs)
    assert lines[: len(inputs)] == [
        f"input {spec.name} {spec.datatype} [{','.join(map(str, spec.shape))}]"
        for spec in metadata.inputs
    ]
    outputs = lines[len(inputs) :]
    assert len(outputs) == len(expected.outputs)
    for line, (output, array) in zip(outputs, expected.outputs.items(), strict=True):
        head, _, numbers = line.partition("] ")
        shape = ",".join(map(str, array.shape))
        assert head == f"output {output} {expected.datatypes[output]} [{shape}"
        np.testing.assert_allclose(
            [float(number) for number in numbers.split()], array.reshape(-1), rtol=1e-4, atol=1e-5
        )


def test_a_refusal_is_told(program: Program, examples: Server) -> None:
    """The server's words go to stderr, and the exit code is not 0."""
    asked = _run([*program, examples.address, "nothing"])
    assert asked.returncode == 1
    assert "Request for unknown model: 'nothing' is not found" in asked.stderr


def _node(below: Path) -> Program:
    _need("node", "npm")
    folder = _written("node", below / "node")
    if not (folder / "node_modules").is_dir():
        installed = _run(["npm", "install", "--no-audit", "--no-fund"], folder)
        if installed.returncode != 0:
            pytest.skip(f"npm cannot install the sample's packages: {installed.stderr[-300:]}")
    return ["node", str(folder / "sample.js")]


def _go(below: Path) -> Program:
    _need("go", "gofmt", "protoc", "protoc-gen-go", "protoc-gen-go-grpc")
    if not (DEBIAN_GO / "src" / "google.golang.org" / "grpc").is_dir():
        pytest.skip(f"Debian's grpc for Go is not here; {INSTALL}")
    folder = _written("go", below / "go" / "src" / "sample")
    environment = {"GO111MODULE": "off", "GOPATH": f"{below / 'go'}:{DEBIAN_GO}"}
    for command in (["go", "generate"], ["go", "vet"], ["go", "build"]):
        _build(command, folder, environment)
    assert _run(["gofmt", "-l", "main.go"], folder).stdout == ""
    return [str(folder / "sample")]


def _java(below: Path) -> Program:
    _need("java", "javac", "protoc", "grpc_java_plugin")
    if not (DEBIAN_JARS / "grpc-netty.jar").exists():
        pytest.skip(f"Debian's grpc for Java is not here; {INSTALL}")
    folder = _written("java", below / "java")
    made = folder / "build" / "classpath"
    sources = [*folder.rglob("*.proto"), folder / "Sample.java", folder / "build.sh"]
    if not made.exists() or any(each.stat().st_mtime > made.stat().st_mtime for each in sources):
        _build(["sh", "build.sh"], folder)
    # No files in /tmp/hsperfdata_*, and no second compiler: it runs for a second.
    options = ["-XX:-UsePerfData", "-XX:TieredStopAtLevel=1"]
    classes = made.read_text().strip().replace("build/", f"{folder}/build/")
    return ["java", *options, "-cp", classes, "Sample"]


def _cpp(below: Path) -> Program:
    _need("g++", "cmake", "pkg-config", "protoc", "grpc_cpp_plugin")
    if _run(["pkg-config", "--exists", "grpc++", "protobuf"]).returncode != 0:
        pytest.skip(f"grpc's C++ library is not here; {INSTALL}")
    folder = _written("cpp", below / "cpp")
    quick = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0 -Wall -Wextra"]
    _build(["cmake", "-S", ".", "-B", "build", *quick], folder)
    _build(["cmake", "--build", "build", "--parallel", "2"], folder)
    return [str(folder / "build" / "sample")]


BUILDERS: Mapping[str, Callable[[Path], Program]] = {
    "node": _node,
    "go": _go,
    "java": _java,
    "cpp": _cpp,
}


def _written(language: str, folder: Path) -> Path:
    """What `inferd stubs` writes, as far as it is not there already."""
    inferd = str(Path(sys.executable).with_name("inferd"))
    _build([inferd, "stubs", "--lang", language, "--output", str(folder), "--force"])
    return folder


def _need(*tools: str) -> None:
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} not found; {INSTALL}")


def _build(
    command: Sequence[str], folder: Path | None = None, more: Mapping[str, str] | None = None
) -> None:
    done = _run(command, folder, more)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def _run(
    command: Sequence[str], folder: Path | None = None, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(more or {})},
        capture_output=True,
        text=True,
        check=False,
    )
