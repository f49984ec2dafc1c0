"""Batched answers equal unbatched ones, through real workers and a trained program."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from inferd.client import connect
from support.server import MODELS, Server


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
        (before,) = model.statistics()
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(call, spans))
        (after,) = model.statistics()
    for (start, stop), answer in zip(spans, answers, strict=True):
        np.testing.assert_allclose(answer, alone[start:stop], rtol=1e-4, atol=1e-6)
    unshared = sum(-(-(stop - start) // 64) for start, stop in spans)
    assert after.execution_count - before.execution_count < unshared
