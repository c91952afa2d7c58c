"""Runs the real command line in the gateway's namespace, each call in a process of its own, forked from this one.

So that a hundred calls do not start a hundred interpreters. A request is one line of JSON: arguments, variables, and
maybe a function of the gateway at whose call (after so many others) the process kills itself with SIGKILL.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import sys
import tempfile
from typing import IO, Any

from flowgauge.cli import app, main


def serve() -> None:
    """Answer requests until there are no more."""
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        app(["gateway", "up", "--help"])  # loads what the command line loads when it is first used
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
            process = os.fork()
            if process == 0:
                _child(json.loads(line), out, errors)
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            texts = [stream.read() for stream in (out, errors) if stream.seek(0) == 0]
        print(json.dumps([code, *texts]), flush=True)


def _child(request: dict[str, Any], out: IO[str], errors: IO[str]) -> None:
    code = 99
    try:
        for number, stream in ((0, open(os.devnull)), (1, out), (2, errors)):  # noqa: SIM115
            os.dup2(stream.fileno(), number)
        os.environ.update(request["variables"])
        if request["killed"]:
            _arm(*request["killed"])
        sys.argv = ["flowgauge", *request["arguments"]]
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _arm(name: str, calls: int) -> None:
    """Die in place of the call of a function, such as `rules.load`, that comes after this many others."""
    module = importlib.import_module(f"flowgauge.capture.gateway.{name.split('.')[0]}")
    function = getattr(module, name.split(".")[1])
    left = iter(range(calls))

    def killing(*arguments: Any, **options: Any) -> Any:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    setattr(module, name.split(".")[1], killing)


if __name__ == "__main__":
    serve()
