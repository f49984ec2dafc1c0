"""`python -m inferd.server.gateway`: one gateway process."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run a gateway with the arguments of the command line; its exit status."""
    # numpy comes with the very first messages; its BLAS, never used here, would start a thread for
    # every core of the machine.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # The C core writes lines of its own form to stderr, among ours; what matters reaches us as errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from inferd.server.gateway import bootstrap  # noqa: PLC0415  # after the line above

    return bootstrap.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
