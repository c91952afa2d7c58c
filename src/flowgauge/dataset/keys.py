"""Keys of partitions: columns that rows are put into folders by, in the way of Hive."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.errors import ConfigError

DATE = "date"
"""The key that is no column: the day, UTC, of `start`."""

NULL = "__HIVE_DEFAULT_PARTITION__"
"""What stands for null, and for an empty text, in the name of a folder."""

_DAY = 86_400_000_000_000  # ns
_EPOCH = datetime.date(1970, 1, 1)
# What Hive and Spark write as %XX; other characters are left as they are, which all readers take.
_ESCAPED = re.compile(r"""[\x00-\x1f"#%'*/:=?\\\x7f{}\[\]^<>|]""")


class Keys:
    """The folders of rows of native batches. Raises ConfigError for a key that is no column which can be one.

    `names` are listed with commas between them, or one by one.
    """

    def __init__(self, names: str | Iterable[str] | None, schema: pa.Schema) -> None:
        listed = names.split(",") if isinstance(names, str) else list(names or ())
        self.names = [str(name).strip() for name in listed]
        usable = [DATE, *(field.name for field in schema if _is_usable(field.type))]
        for name in self.names:
            if name in schema.names and name not in usable:
                kind = schema.field(name).type
                raise ConfigError(f"partition_by {name!r} is {kind}: folders are named by texts and whole numbers")
            if name not in usable:
                texts = [field.name for field in schema if _is_text(field.type)]
                raise ConfigError(
                    f"partition_by {name!r} is no column of this run; there are {', '.join([DATE, *texts])}, and all "
                    "of whole numbers, such as protocol"
                )
            if self.names.count(name) > 1:
                raise ConfigError(f"partition_by has {name!r} twice")

    def split(self, batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Folders, in the order of their names, each with its rows; "" is the data set itself."""
        if not self.names:
            yield "", batch
            return
        folder_of, folders = self._folders(batch)
        for folder in sorted(folders):
            rows = np.flatnonzero(folder_of == folders[folder])
            yield folder, batch if len(rows) == len(batch) else batch.take(pa.array(rows))

    def _folders(self, batch: pa.RecordBatch) -> tuple[NDArray[np.int64], dict[str, int]]:
        """The number of each row's folder, and the folders' numbers."""
        codes, texts = np.zeros(len(batch), np.int64), [""]
        for name in self.names:
            own, values = _encoded(batch, name)
            pairs, codes = np.unique(codes * (len(values) + 1) + own, return_inverse=True)
            split = [divmod(int(pair), len(values) + 1) for pair in pairs]
            texts = [f"{texts[before]}{name}={_escaped([*values, None][code])}/" for before, code in split]
        folders: dict[str, int] = {}
        numbers = np.array([folders.setdefault(text, len(folders)) for text in texts], np.int64)
        return numbers[codes.reshape(-1)], folders


def _is_usable(kind: pa.DataType) -> bool:
    return bool(_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(kind) or pa.types.is_string(kind))


def _encoded(batch: pa.RecordBatch, name: str) -> tuple[NDArray[np.int64], list[Any]]:
    """Of each row the number of its value, and the values; null has the number behind the last."""
    if name == DATE:
        days, codes = np.unique(batch["start"].cast(pa.int64()).to_numpy() // _DAY, return_inverse=True)
        return codes.reshape(-1), [(_EPOCH + datetime.timedelta(days=int(day))).isoformat() for day in days]
    column = batch[name]
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    indices = pc.fill_null(column.indices.cast(pa.int64()), len(column.dictionary))
    return indices.to_numpy(zero_copy_only=False), column.dictionary.to_pylist()


def _escaped(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", text) or NULL
