"""Try features without compiling them, so that print, assert and a debugger work:

    python -m flowgauge.testing my_features.py
    python -m flowgauge.testing my_features.py:tiny traffic.pcap

The features of the file, or the one named, are run over the captures given, or over a small one made here: a name
looked up by UDP and a page fetched by TCP. What they computed is printed, and what could not be compiled.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> int:
    """Run the features that are named first over the captures named behind; the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # read when Numba is imported
    from flowgauge.errors import FlowgaugeError

    try:
        _run(arguments[0], arguments[1:])
    except FlowgaugeError as error:
        print(f"flowgauge.testing: {error}", file=sys.stderr)
        return 2
    return 0


def _run(named: str, captures: list[str]) -> None:
    import io
    from pathlib import Path

    from flowgauge.custom import compile as custom_compile
    from flowgauge.custom.check import check_feature
    from flowgauge.custom.load import load_feature, load_file
    from flowgauge.errors import FeatureError
    from flowgauge.run import read
    from flowgauge.sample import sample_capture
    from flowgauge.schema import custom_columns

    features = list(load_file(Path(named)).values()) if named.endswith(".py") else [load_feature(named)]
    custom_compile.COMPILES = False
    table = read(captures or io.BytesIO(sample_capture()), features=["core", *features])
    shown = ["client_ip", "client_port", "server_ip", "server_port", "protocol", "packets"]
    for row in table.to_pylist():
        print("flow " + " ".join(f"{name}={row[name]}" for name in shown))
        for feature in features:
            print(
                f"  {feature}: " + " ".join(f"{column.name}={row[column.name]}" for column in custom_columns(feature))
            )
    for feature in features:
        try:
            check_feature(feature)
        except FeatureError as error:
            print(f"not to be compiled yet: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
