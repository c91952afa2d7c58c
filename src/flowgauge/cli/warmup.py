"""`flowgauge warmup`: compile ahead of the first run."""

from __future__ import annotations

import time


def warmup() -> None:
    """Compile every kernel now, so that no run has to."""
    from flowgauge.kernels._jit import JIT, cache_folder
    from flowgauge.run import warmup as run_warmup

    start = time.perf_counter()
    run_warmup()
    seconds = time.perf_counter() - start
    if not JIT:
        print("NUMBA_DISABLE_JIT is set: nothing to compile")
        return
    where = cache_folder()
    print(f"kernels ready after {seconds:.1f} s{'' if where is None else f', kept in {where}'}")
