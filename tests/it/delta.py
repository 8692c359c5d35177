"""Reads a Delta Lake table with the deltalake package and prints what it found as JSON.

usage: delta.py TABLE [STORAGE_OPTIONS as JSON]
The version, the columns with their types, the rows, distinct ids and their sum, rows per partition, and the
operations of the log.
"""

import collections
import json
import os
import sys

import pyarrow.compute as pc
from deltalake import DeltaTable

options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else None
table = DeltaTable(sys.argv[1], storage_options=options)
rows = table.to_pyarrow_table()
for batch in rows.to_batches():
    batch.validate(full=True)
ids = rows["id"]
print(
    json.dumps(
        {
            "version": table.version(),
            "columns": {field.name: str(field.type.type) for field in table.schema().fields},
            "partitions": dict(collections.Counter(str(value) for value in rows["part"].to_pylist())),
            "rows": rows.num_rows,
            "distinct": len(pc.unique(ids)),
            "sum": pc.sum(ids).as_py(),
            "operations": [entry["operation"] for entry in table.history()],
        }
    ),
    flush=True,
)
# The threads of two Arrows in one process now and then abort it when the interpreter takes them down.
os._exit(0)
