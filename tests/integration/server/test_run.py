"""`inferd run`: a file through a model of a real server, stopped on the way and gone on with."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from support.gate import Gate
from support.repository import write_code
from support.server import Server

INFERD = str(Path(sys.executable).with_name("inferd"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the model `picky`, which fails for negative rows."""
    made = tmp_path_factory.mktemp("run")
    write_code(
        made / "repository" / "picky",
        """
        class Picky(Model):
            def predict(self, x):
                if (x < 0).any():
                    raise ValueError("a negative number")
                return x + 1
        """,
        "max_batch_size = 64\n",
    )
    return made


@pytest.fixture(scope="module")
def gate(folder: Path) -> Iterator[Gate]:
    """The model `gated` in the same repository."""
    with Gate(folder, folder / "repository") as made:
        toml = folder / "repository" / "gated" / "model.toml"
        toml.write_text("max_batch_size = 64\n" + toml.read_text())
        yield made


@pytest.fixture(scope="module")
def server(gate: Gate, folder: Path) -> Iterator[Server]:
    """A server of both models."""
    with Server(folder, [folder / "repository"], "--trust", "gated", "--trust", "picky") as started:
        yield started
        gate.let_go(1000)


def command(server: Server, model: str, given: Path, output: Path) -> list[str]:
    """What is typed."""
    where = ["--address", server.address]
    return [INFERD, "run", model, "--input", str(given), "--output", str(output), *where]


def test_bad_rows_are_kept_apart_and_the_others_answered(server: Server, tmp_path: Path) -> None:
    """Those that cannot be read and those that the model fails for, each with its line."""
    rows = [json.dumps({"x": [n, n, n, n], "name": str(n)}) for n in range(3000)]
    rows[7] = "no JSON"
    rows[1500] = json.dumps({"x": [-1, 0, 0, 0], "name": "negative"})
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    output = tmp_path / "answers.jsonl"
    done = subprocess.run(
        command(server, "picky", tmp_path / "rows.jsonl", output),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "2 rows have no answer" in done.stderr
    assert "2,998 rows answered" in done.stdout
    good = [n for n in range(3000) if n not in (7, 1500)]
    assert [json.loads(line) for line in output.read_text().splitlines()] == [
        {"row": n + 1, "y": [n + 1.0] * 4} for n in good
    ]
    rejected = [
        json.loads(line)
        for line in (tmp_path / "answers.jsonl.rejected.jsonl").read_text().splitlines()
    ]
    assert [(each["row"], each["line"]) for each in rejected] == [(8, 8), (1501, 1501)]
    assert "failed on this batch" in rejected[1]["error"]
    assert rejected[1]["values"]["name"] == "negative"
    assert not (tmp_path / "answers.jsonl.partial").exists()


def test_a_stopped_job_goes_on_where_it_was(server: Server, gate: Gate, tmp_path: Path) -> None:
    """After Ctrl-C the same command does the rest; each row is in the output once."""
    given = np.arange(1, 4 * 20_000 + 1, dtype=np.float32).reshape(-1, 4)
    np.save(tmp_path / "rows.npy", given)
    output = tmp_path / "answers.npz"
    typed = command(server, "gated", tmp_path / "rows.npy", output)
    first = subprocess.Popen(typed, stderr=subprocess.PIPE, text=True)
    for _ in range(5):
        gate.wait()
        gate.let_go()
    gate.wait()  # five batches are answered, the sixth is held
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=60)
    assert first.returncode == 130, told
    assert "the same command goes on" in told
    assert not output.exists()
    gate.let_go(100_000 // 16)
    done = subprocess.run(typed, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(output) as arrays:
        assert np.array_equal(arrays["row"], np.arange(1, 20_001))
        assert np.array_equal(arrays["y"], given)


def test_a_killed_job_goes_on_where_it_was(server: Server, gate: Gate, tmp_path: Path) -> None:
    """SIGKILL leaves half of what was written last; the same command cuts that and does the rest."""
    given = np.arange(1, 4 * 20_000 + 1, dtype=np.float32).reshape(-1, 4)
    np.save(tmp_path / "rows.npy", given)
    output, partial = tmp_path / "answers.npz", tmp_path / "answers.npz.partial"
    typed = command(server, "gated", tmp_path / "rows.npy", output)
    gate.forget()
    saved = 0
    for _ in range(3):
        job = subprocess.Popen(typed, stderr=subprocess.PIPE, text=True)
        for _ in range(40):
            gate.wait()
            gate.let_go()
        gate.wait()  # 40 batches are answered, and so at least one chunk; the next batch is held
        before, saved = saved, _saved_rows(partial, job, saved, gate)
        assert before < saved < len(given)
        job.kill()
        _, told = job.communicate(timeout=60)
        assert (job.returncode, told) == (-signal.SIGKILL, "")
        assert not output.exists()
        gate.let_go()
    for torn in partial.glob("*.bin"):
        with torn.open("ab") as file:  # as if the kernel had written some of what came last
            file.write(b"torn")
    gate.let_go(100_000 // 16)
    done = subprocess.run(typed, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(output) as arrays:
        assert np.array_equal(arrays["row"], np.arange(1, 20_001))
        assert np.array_equal(arrays["y"], given)
    assert not partial.exists()


def _saved_rows(partial: Path, job: subprocess.Popen[str], more_than: int, gate: Gate) -> int:
    """The row from which on the job would go on now, once that is beyond `more_than`.

    What is saved follows answers: batches are let go until then.
    """
    while job.poll() is None:
        with suppress(FileNotFoundError):
            saved: int = json.loads((partial / "state.json").read_text())["next_row"]
            if saved > more_than:
                return saved
        with suppress(subprocess.TimeoutExpired):
            job.wait(0.02)
        gate.let_go()
    raise AssertionError(f"the job ended: {job.communicate()}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--column", "y=a"], "takes x"),
        (["--in-flight", "0"], "--in-flight"),
        ([], "takes 'x'"),
    ],
)
def test_what_does_not_match_is_told_at_once(
    server: Server, tmp_path: Path, options: list[str], said: str
) -> None:
    """With what the file has, and the exit code of a command that cannot be followed."""
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    typed = command(server, "picky", tmp_path / "rows.csv", tmp_path / "out.csv")
    done = subprocess.run([*typed, *options], check=False, capture_output=True, text=True)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not list(tmp_path.glob("out*"))
