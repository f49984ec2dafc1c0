"""The bare model in a loop: `bare.py MODEL BATCH PARENT`.

For each line on stdin, a number of seconds, it loops that long and prints a line of JSON.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter_ns

import torch
from workload_models import MODELS, build

from inferd.core.process import die_with_parent


def main() -> None:
    """Loop as told until stdin ends."""
    name, batch, parent = sys.argv[1:]
    die_with_parent(int(parent))
    torch.set_num_threads(1)
    model = build(name)
    rows = torch.randn(int(batch), *MODELS[name].row, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for line in sys.stdin:
            laps: list[int] = []
            started = now = perf_counter_ns()
            until = started + float(line) * 1e9
            while now < until or not laps:
                model(rows)
                before, now = now, perf_counter_ns()
                laps.append(now - before)
            outcome = {
                "seconds": (now - started) / 1e9,
                "latencies_us": sorted(each // 1000 for each in laps),
            }
            print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
