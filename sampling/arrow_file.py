"""A data set on disk, written piece by piece and mapped into memory: it takes none, however long it is."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset

TOKEN_IDS = pa.list_(pa.int32())


class ArrowFile:
    """Record batches of one `schema` in a new file; `finish` gives the data set."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_stream(self._file, schema)

    def append(self, columns: Sequence[pa.Array]) -> None:
        """Write rows, given as the schema's columns in its order."""
        self._writer.write_batch(pa.record_batch(list(columns), schema=self._schema))

    def finish(self) -> Dataset:
        self.close()
        return Dataset.from_file(str(self._path))

    def close(self) -> None:
        """Can be called twice."""
        if not self._file.closed:
            self._writer.close()
            self._file.close()


class TokenLists:
    """A column of token ids that grows row by row, flat."""

    def __init__(self) -> None:
        self._ids = array("i")
        self._ends = array("i", [0])

    def append(self, token_ids: Sequence[int]) -> bytes:
        """Add a row; the result is its bytes."""
        row = array("i", token_ids)
        self._ids.extend(row)
        self._ends.append(len(self._ids))
        return row.tobytes()

    def take(self) -> pa.Array:
        """The column; the rows begin anew."""
        column = pa.ListArray.from_arrays(np.array(self._ends), pa.array(np.array(self._ids)), type=TOKEN_IDS)
        self._ids, self._ends = array("i"), array("i", [0])
        return column
