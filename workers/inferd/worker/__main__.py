"""`python -m inferd.worker`: one worker process."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run a worker with the arguments of the command line; its exit status."""
    # numpy comes with the very first messages, before this process is pinned. Its BLAS would start
    # a thread for every core of the machine, on every core; models compute with torch's threads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from inferd.worker import bootstrap

    return bootstrap.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
