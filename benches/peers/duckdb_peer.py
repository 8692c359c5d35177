"""DuckDB: a batch engine, and the judge of everyone's rows.

Two ways to forget rows: "arrow" streams them as Arrow batches through one consumer; "fold" adds up every
column in the query itself, which runs in parallel and is what comes nearest to a sink that forgets.
"""

import duckdb

from protocol import serve, statements, timed

BATCH_ROWS = 100_000


def connect(request):
    connection = duckdb.connect()
    connection.execute(f"SET threads = {int(request['threads'])}")
    # Order costs and Weir does not promise it either.
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET enable_progress_bar = false")
    for statement in statements(request["sources"]):
        connection.execute(statement)
    return connection, statements(request["query"])[0]


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


def hello(_request):
    return {"version": duckdb.__version__, "ways": ["arrow", "fold"]}


def run(request):
    connection, sql = connect(request)
    if "folder" in request:
        sql = f"COPY ({sql}) TO '{request['folder']}/rows.parquet' (FORMAT parquet, COMPRESSION zstd)"
        seconds = timed(lambda: connection.execute(sql).fetchall())
    elif request["way"] == "fold":
        sql = fold(connection, sql)
        seconds = timed(lambda: connection.execute(sql).fetchall())
    else:
        seconds = timed(lambda: sum(batch.num_rows for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS)))
    connection.close()
    return {"seconds": seconds}


def write(request):
    run(request)
    return {}


def check(request):
    """Compares, in any order, the rows of the query with those in Parquet files."""
    connection, sql = connect(request)
    columns = connection.execute(f"DESCRIBE {sql}").fetchall()
    casts = ", ".join(f'CAST("{name}" AS {kind})' for name, kind, *_ in columns)
    digest = f"SELECT count(*), sum(hash({casts})::HUGEINT)::VARCHAR FROM"
    expected = connection.execute(f"{digest} ({sql})").fetchone()
    found = connection.execute(f"{digest} read_parquet(?)", [request["files"]]).fetchone()
    connection.close()
    return {"equal": expected == found, "expected": expected, "found": found}


serve({"hello": hello, "run": run, "write": write, "check": check})
