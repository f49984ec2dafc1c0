"""What docs/bulk.md tells its readers to type works as it stands there."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from support.server import MODELS, Server

PAGE = (Path(__file__).parents[3] / "docs" / "bulk.md").read_text()
INFERD = str(Path(sys.executable).with_name("inferd"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the example models that the page names."""
    folder = tmp_path_factory.mktemp("docs")
    repository = folder / "models"
    repository.mkdir()
    for name in ("recommend", "breast-cancer"):
        (repository / name).symlink_to(MODELS / name)
    with Server(folder, [repository]) as started:
        yield started


def test_its_commands_answer_files(server: Server, tmp_path: Path) -> None:
    """Each row of both files has an answer."""
    rows = [json.dumps({"user": n, "item": 2 * n}) for n in range(50)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    with (tmp_path / "patients.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f"measure {n}" for n in range(30)])
        writer.writerows(np.random.default_rng(0).uniform(0, 20, (40, 30)).tolist())
    typed = re.findall(r"^\$ (inferd run .*)$", PAGE, re.MULTILINE)
    assert len(typed) == 2
    for line in typed:
        words = [INFERD, *shlex.split(line)[1:], "--address", server.address]
        subprocess.run(words, check=True, cwd=tmp_path)
    scores = list(csv.DictReader((tmp_path / "answers.csv").read_text().splitlines()))
    assert [int(each["row"]) for each in scores] == list(range(1, 51))
    assert all(0 <= float(each["score"]) <= 1 for each in scores)
    table = parquet.read_table(tmp_path / "answers.parquet")
    assert table["row"].to_pylist() == list(range(1, 41))


@pytest.mark.parametrize("number", range(2))
def test_its_python_runs(server: Server, number: int) -> None:
    """As whole programs."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    code = blocks[number].replace("127.0.0.1:8001", server.address)
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
