"""Batched answers equal unbatched ones, through real workers and a trained program."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from urllib.request import urlopen

import numpy as np
import numpy.typing as npt

from inferd.client import connect
from support.server import MODELS, PATIENCE, Server

WAITING = re.compile(r'^inferd_queue_requests{model="digits",version="1"} (\d+)', re.MULTILINE)


def wait_for_queue(server: Server, size: int) -> None:
    """Until so many requests wait for `digits`."""
    end = time.monotonic() + PATIENCE
    while True:
        with urlopen(f"http://{server.ops}/metrics", timeout=PATIENCE) as answer:
            found = WAITING.search(answer.read().decode())
        if found is not None and int(found[1]) >= size:
            return
        assert time.monotonic() < end, found
        Event().wait(0.01)  # nothing would tell


def test_rows_keep_their_callers_in_any_mix_of_sizes(examples: Server) -> None:
    """200 requests of 1 to 150 rows at once: each gets what its rows get when sent alone."""
    generator = np.random.default_rng(7)
    images = np.load(MODELS / "digits" / "1" / "holdout.npz")["image"]
    with connect(examples.address) as client:
        model = client.model("digits")
        alone = np.concatenate([model(image[None])["probabilities"] for image in images[:150]])

        def call(span: tuple[int, int]) -> npt.NDArray[np.float32]:
            return np.asarray(model(images[slice(*span)])["probabilities"], np.float32)

        starts, stops = np.sort(generator.integers(0, 150, (200, 2)), axis=1).T
        spans = [(int(a), int(b) + 1) for a, b in zip(starts, stops, strict=True)]
        workers = examples.workers()
        for each in workers:
            each.suspend()  # requests wait together, whatever the machine has to do
        with ThreadPoolExecutor(32) as pool:
            try:
                coming = pool.map(call, spans)
                wait_for_queue(examples, 8)
            finally:
                for each in workers:
                    each.resume()
            answers = list(coming)
    for (start, stop), answer in zip(spans, answers, strict=True):
        np.testing.assert_allclose(answer, alone[start:stop], rtol=1e-4, atol=1e-6)
