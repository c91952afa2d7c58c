"""Data sets: flow records in a folder of Parquet files, to which runs add, and which runs that were stopped go on with.

=============  =====================================================================
``keys``       columns that rows are put into folders by: ``date=2026-11-26/app=chat/``
``parts``      the files of a chunk: some captures after each other
``asked``      what a run was asked for: its id, and what differs from another one
``manifest``   what of a run is done, in ``_flowgauge/<id>/``, which readers pass over
``checkpoint`` what a run over one trace remembers between its captures, as bytes
``writing``    the run itself
``reading``    a data set as one table
=============  =====================================================================

Importing this package loads neither NumPy nor pyarrow.
"""

from __future__ import annotations

import os

from flowgauge import storage

__all__ = ["MANIFESTS", "is_dataset"]

MANIFESTS = "_flowgauge"
"""The folder of the manifests in a data set."""


def is_dataset(output: object) -> bool:
    """Whether an output is a data set: it ends in a slash, or is a folder that is there."""
    if not isinstance(output, (str, os.PathLike)):
        return False
    name = os.fspath(output)
    if not isinstance(name, str) or name == "-":
        return False
    path = storage.local_path(name)
    return name.endswith(("/", os.sep)) or (path is not None and os.path.isdir(path))
