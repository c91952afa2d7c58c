"""Every way in which a command ends: exit codes, one line for an error, silence for a closed pipe."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from flowgauge.errors import ConfigError, FlowgaugeError, SinkError

DONE, INPUT_FAILED, WRONG_USAGE, OUTPUT_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

EXIT_CODES = """\b
Exit codes:
  0    done; a cut-off or damaged capture is a warning
  1    some input could not be read, the rest is written;
       with --strict also for a cut-off or damaged capture;
       or there was not enough memory
  2    wrong usage
  3    the output could not be written
  130  interrupted; what was metered is written
"""


class Commands(TyperGroup):
    """Runs a command; no error that is raised on purpose ends in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has seen enough, e.g. `| head`
            _forget_stdout()
            raise typer.Exit(DONE) from None
        except FlowgaugeError as error:
            say(str(error))
            raise typer.Exit(_exit_code(error)) from None
        except OSError as error:
            if error.filename is not None:  # sources and sinks report their own: a defect
                raise
            say(f"standard output: {error.strerror or error}")
            _forget_stdout()
            raise typer.Exit(OUTPUT_FAILED) from None
        except MemoryError:
            say("not enough memory: fewer open flows (--max-flows), threads and column groups need less")
            raise typer.Exit(INPUT_FAILED) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        return result


def say(line: str) -> None:
    """One line for the user on standard error, beside whatever goes to standard output."""
    with contextlib.suppress(BrokenPipeError):
        print(f"flowgauge: {line}", file=sys.stderr, flush=True)


def say_if_compiling() -> None:
    """Tell why the first run takes its time."""
    from flowgauge.kernels._jit import is_warm

    if not is_warm():
        say("compiling kernels, once; `flowgauge warmup` does it ahead")


def _exit_code(error: FlowgaugeError) -> int:
    if isinstance(error, ConfigError):
        return WRONG_USAGE
    return OUTPUT_FAILED if isinstance(error, SinkError) else INPUT_FAILED


def _forget_stdout() -> None:
    """Let the interpreter flush what nobody reads into nothing, instead of complaining at its end."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
