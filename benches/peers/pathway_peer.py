"""Pathway: a stream processor on differential dataflow.

It reads no Parquet, and Delta tables only with a licence key: the same rows are written as CSV before the time counts.
"""

import glob
import logging
import os
import shutil
import tempfile

from protocol import serve, timed

WINDOW_US = 10_000_000


def hello(request):
    # Read when the library is loaded.
    os.environ["PATHWAY_THREADS"] = str(request["threads"])
    # It tells of every file and sink.
    logging.disable(logging.WARNING)
    import pathway

    return {"version": pathway.__version__}


def as_csv(path, into):
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    rows = pq.read_table(path)
    times = rows["ts"].cast(pa.timestamp("us")).cast(pa.int64())
    pyarrow.csv.write_csv(rows.set_column(0, "ts", times), into)


def tumble(folder):
    import pathway as pw

    class Reading(pw.Schema):
        ts: int
        key: int
        value: float

    rows = pw.io.csv.read(folder, schema=Reading, mode="static")
    # Faster than `windowby`, and the same for windows that do not overlap.
    rows = rows.select(pw.this.key, pw.this.value, window_start=pw.this.ts - pw.this.ts % WINDOW_US)
    return rows.groupby(rows.window_start, rows.key).reduce(
        rows.window_start, rows.key, c=pw.reducers.count(), s=pw.reducers.sum(rows.value)
    )


QUERIES = {"tumble": tumble}


def flow(request, sink):
    """Gives what runs the query; `sink` takes its rows."""
    import pathway as pw
    from pathway.internals.parse_graph import G

    G.clear()
    folder = tempfile.mkdtemp()
    for path in glob.glob(f"{request['sources']}/*.parquet"):
        as_csv(path, f"{folder}/{os.path.basename(path)}.csv")
    sink(QUERIES[request["query"]](folder))

    def go():
        try:
            pw.run(monitoring_level=pw.MonitoringLevel.NONE)
        finally:
            shutil.rmtree(folder)

    return go


def run(request):
    import pathway as pw

    return {"seconds": timed(flow(request, pw.io.null.write))}


def write(request):
    import pathway as pw
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []

    def keep(key, row, time, is_addition):
        if is_addition:
            rows.append(row)
        else:
            rows.remove(row)

    flow(request, lambda table: pw.io.subscribe(table, on_change=keep))()
    columns = {
        "window_start": pa.array([row["window_start"] for row in rows], pa.timestamp("us")),
        "key": pa.array([row["key"] for row in rows], pa.int64()),
        "c": pa.array([row["c"] for row in rows], pa.int64()),
        "s": pa.array([row["s"] for row in rows], pa.float64()),
    }
    pq.write_table(pa.table(columns), f"{request['folder']}/rows.parquet")
    return {}


serve({"hello": hello, "run": run, "write": write})
