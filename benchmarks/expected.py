"""What the bare model answers: the measure of every contender's answers."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from scenarios import Scenario
from wires.call import Floats
from workload_models import MODELS, build


@cache
def expected_answer(scenario: Scenario, *, echo: bool = False) -> Floats:
    """The float32 answer to the scenario's request; with `echo` the request's own numbers."""
    values = np.frombuffer(scenario.values(), np.float32)
    if echo:
        return values
    assert MODELS[scenario.model].row == scenario.shape[1:]
    torch.set_num_threads(1)
    with torch.inference_mode():
        rows = torch.frombuffer(bytearray(scenario.values()), dtype=torch.float32)
        answer: Floats = build(scenario.model)(rows.view(scenario.shape)).numpy()
    return answer
