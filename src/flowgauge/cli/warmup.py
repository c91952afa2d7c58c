"""`flowgauge warmup`: compile ahead of the first run."""

from __future__ import annotations

import time
from typing import Annotated

import typer


def warmup(
    features: Annotated[
        str | None,
        typer.Option(metavar="GROUP,…", help="These column groups too, beside those that are on by default."),
    ] = None,
) -> None:
    """Compile every kernel now, so that no run has to."""
    from flowgauge.config import DEFAULT_FEATURES, make_config
    from flowgauge.kernels._cache import cache_folder
    from flowgauge.kernels._jit import JIT
    from flowgauge.run import warmup as run_warmup

    chosen = make_config(features=[*DEFAULT_FEATURES, *(features.split(",") if features else [])]).features
    start = time.perf_counter()
    run_warmup(group for group in chosen if isinstance(group, str))
    seconds = time.perf_counter() - start
    if not JIT:
        print("NUMBA_DISABLE_JIT is set: nothing to compile")
        return
    where = cache_folder()
    print(f"kernels ready after {seconds:.1f} s{'' if where is None else f', kept in {where}'}")
