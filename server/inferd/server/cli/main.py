"""The command `inferd`: finds the verb and leaves the rest to it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

_NEEDED = ("cyclopts", "msgspec", "pydantic", "rich", "structlog")
_VERBS = (
    "serve",
    "predict",
    "run",
    "bench",
    "inspect",
    "watching.status",
    "watching.top",
    "stubs",
    "deploy",
)
"""Modules below this package, each named as the verb in it."""

_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it

_HELP = """Serve PyTorch models over gRPC.

Start with

- inferd serve models
- inferd predict digits --random
- inferd run digits --input images.npy --output answers.parquet
- inferd bench digits
- inferd status
- inferd inspect localhost:8001
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (that of this process by default) and exit with its code."""
    # A client's install has none of these; a traceback would not tell what to do about it.
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        print(
            f"inferd: the command line needs {', '.join(missing)}, which a client's install leaves "
            "out; install it with: pip install 'inferd[server]'",
            file=sys.stderr,
        )
        sys.exit(1)
    from cyclopts import App

    app = App(name="inferd", help=_HELP, help_format="markdown", version=version("inferd"))
    typed = sys.argv[1:] if arguments is None else list(arguments)
    for module in _VERBS:
        verb = module.rpartition(".")[2]
        # By name: what a verb imports is imported when it is called,
        app.command(f"inferd.server.cli.{module}:{verb}")
        if not typed or typed[0].startswith("-"):
            # or when all verbs are listed, each with the first line of its help.
            app[verb]
    try:
        app(typed)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)  # whoever typed Ctrl-C knows why it ended
    except BrokenPipeError:
        # Whoever read our output, such as `head`, has seen enough; nothing is left to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
