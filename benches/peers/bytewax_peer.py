"""bytewax: a stream processor whose operators are Python, row by row, with its own windows.

Its watermark is of each key, and two files that are read side by side are not side by side in time: it waits for longer
than the input lasts, so that no row is late, and gives all windows in the end.
"""

import glob
from datetime import datetime, timedelta, timezone

from protocol import serve, timed

# Large, so that each key gets several rows at once.
BATCH_ROWS = 65_536
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LENGTH = timedelta(seconds=10)


def hello(_request):
    from importlib.metadata import version

    return {"version": version("bytewax")}


def source(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

    class File(StatefulSourcePartition):
        def __init__(self, path):
            self.batches = pq.ParquetFile(path).iter_batches(BATCH_ROWS)

        def next_batch(self):
            batch = next(self.batches, None)
            if batch is None:
                raise StopIteration
            micros = batch["ts"].cast(pa.timestamp("us")).cast(pa.int64()).to_pylist()
            # Bytewax takes no other time zone than the standard library's UTC.
            times = [EPOCH + timedelta(microseconds=us) for us in micros]
            keys = map(str, batch["key"].to_pylist())
            return list(zip(keys, zip(times, batch["value"].to_pylist())))

        def snapshot(self):
            return None

    class Files(FixedPartitionedSource):
        def list_parts(self):
            return sorted(glob.glob(f"{folder}/*.parquet"))

        def build_part(self, step_id, part, resume_state):
            return File(part)

    return Files()


def add(total, row):
    total[0] += 1
    total[1] += row[1]
    return total


def merge(total, other):
    return [total[0] + other[0], total[1] + other[1]]


def tumble(folder, sink):
    """Rows of the sink: key, (number of the window, [count, sum])."""
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.operators import windowing

    flow = Dataflow("tumble")
    rows = op.input("rows", flow, source(folder))
    totals = windowing.fold_window(
        "totals",
        rows,
        windowing.EventClock(lambda row: row[0], wait_for_system_duration=timedelta(days=1)),
        windowing.TumblingWindower(LENGTH, align_to=START),
        lambda: [0, 0.0],
        add,
        merge,
    )
    op.output("out", totals.down, sink)
    return flow


QUERIES = {"tumble": tumble}


def flow(request, sink):
    from bytewax.testing import cluster_main

    made = QUERIES[request["query"]](request["sources"], sink)
    return lambda: cluster_main(made, [], 0, worker_count_per_proc=request["threads"])


def run(request):
    from bytewax.outputs import DynamicSink, StatelessSinkPartition

    class Nothing(StatelessSinkPartition):
        def write_batch(self, items):
            pass

    class Forget(DynamicSink):
        def build(self, step_id, worker_index, worker_count):
            return Nothing()

    return {"seconds": timed(flow(request, Forget()))}


def write(request):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from bytewax.testing import TestingSink

    rows = []
    flow(request, TestingSink(rows))()
    first = int(START.timestamp()) * 1_000_000
    length = LENGTH // timedelta(microseconds=1)
    columns = {
        "window_start": pa.array([first + number * length for _, (number, _) in rows], pa.timestamp("us")),
        "key": pa.array([int(key) for key, _ in rows], pa.int64()),
        "c": pa.array([total[0] for _, (_, total) in rows], pa.int64()),
        "s": pa.array([total[1] for _, (_, total) in rows], pa.float64()),
    }
    pq.write_table(pa.table(columns), f"{request['folder']}/rows.parquet")
    return {}


serve({"hello": hello, "run": run, "write": write})
