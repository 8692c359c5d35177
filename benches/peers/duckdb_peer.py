"""DuckDB as a peer of the benchmarks: one process that answers requests, one line of JSON each.

{"op": "hello"}                                    -> {"version": ...}
{"op": "run", "sql": ..., "threads": n, "drain": way} -> {"seconds": ..., "rows": ...}
{"op": "check", "sql": ..., "files": glob}         -> {"equal": ..., "expected": [...], "found": [...]}

A query is timed until its whole result was produced and dropped. Two ways of dropping it: "arrow"
streams it as Arrow batches through one consumer; "fold" adds up every column in the query itself,
which runs in parallel and is what comes nearest to a sink that forgets.
"""

import json
import sys
import time

import duckdb

BATCH_ROWS = 100_000


def connect(threads):
    connection = duckdb.connect()
    connection.execute(f"SET threads = {int(threads)}")
    # Order costs and Weir does not promise it either.
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET enable_progress_bar = false")
    return connection


def fold(connection, sql):
    """Wraps a query so that each column is produced and nothing of it is kept."""
    parts = []
    for name, kind, *_ in connection.execute(f"DESCRIBE {sql}").fetchall():
        column = f'"{name}"'
        if kind == "VARCHAR":
            column = f"strlen({column})"
        elif kind == "TIMESTAMP":
            column = f"epoch_us({column})"
        parts.append(f"sum({column})")
    return f"SELECT count(*), {', '.join(parts)} FROM ({sql})"


def run(sql, threads, drain):
    connection = connect(threads)
    if drain == "fold":
        sql = fold(connection, sql)
    start = time.perf_counter()
    if drain == "fold":
        rows = connection.execute(sql).fetchone()[0]
    else:
        rows = sum(batch.num_rows for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS))
    seconds = time.perf_counter() - start
    connection.close()
    return {"seconds": seconds, "rows": rows}


def check(sql, files, threads):
    """Compares, in any order, the rows of the query with those in Parquet files."""
    connection = connect(threads)
    columns = connection.execute(f"DESCRIBE {sql}").fetchall()
    casts = ", ".join(f'CAST("{name}" AS {kind})' for name, kind, *_ in columns)
    digest = f"SELECT count(*), sum(hash({casts})::HUGEINT)::VARCHAR FROM"
    expected = connection.execute(f"{digest} ({sql})").fetchone()
    found = connection.execute(f"{digest} read_parquet(?)", [files]).fetchone()
    connection.close()
    return {"equal": expected == found, "expected": expected, "found": found}


def answer(request):
    match request["op"]:
        case "hello":
            return {"version": duckdb.__version__}
        case "run":
            return run(request["sql"], request["threads"], request["drain"])
        case "check":
            return check(request["sql"], request["files"], request["threads"])
        case other:
            return {"error": f"unknown request {other}"}


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:  # the harness reports it beside the case
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
