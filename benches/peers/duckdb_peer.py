"""DuckDB: a batch engine, and the judge of everyone's rows.

Two ways to forget rows: "arrow" streams them as Arrow batches through one consumer; "fold" adds up every
column in the query itself, which runs in parallel and is what comes nearest to a sink that forgets.
"""

import os
import tempfile

import duckdb

from protocol import serve, statements, timed_job

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
        elif kind in ("TIMESTAMP", "DATE"):
            column = f"epoch_us({column}::TIMESTAMP)"
        parts.append(f"sum({column})")
    return f"SELECT count(*), {', '.join(parts)} FROM ({sql})"


def hello(_request):
    # What is loaded with the first query is no part of a run.
    connection = duckdb.connect()
    sum(batch.num_rows for batch in connection.sql("SELECT 1").to_arrow_reader(BATCH_ROWS))
    connection.close()
    return {"version": duckdb.__version__, "ways": ["arrow", "fold"], "anew": True}


def run(request):
    def work(connection, sql):
        if "folder" in request:
            file = f"{request['folder']}/rows.parquet"
            copy = f"COPY ({sql}) TO '{file}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
            connection.execute(copy).fetchall()
        elif request["way"] == "fold":
            connection.execute(fold(connection, sql)).fetchall()
        else:
            sum(batch.num_rows for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS))
        connection.close()

    return {"seconds": timed_job(request, connect, work)}


def write(request):
    run(request)
    return {}


def digest(connection, columns, rows):
    """The number of rows and a checksum of columns, each cast to a type, in any order of the rows."""
    casts = ", ".join(f'CAST("{name}" AS {kind})' for name, kind in columns)
    total = f"sum(hash({casts})::HUGEINT)::VARCHAR" if columns else "NULL"
    return connection.execute(f"SELECT count(*), {total} FROM {rows}").fetchone()


def farthest(connection, columns, kinds, found, expected):
    """How many times the allowed difference the values of floating-point columns are apart, at most.

    Rows are put side by side in the order of all columns, the exact ones first. What is allowed is one of the last
    digit: of the digits that count, and of the file's column if that is a decimal.
    """
    exact, near = columns
    order = ", ".join([f'CAST("{name}" AS {kind})' for name, kind in exact] + [f'"{name}"::DOUBLE' for name, _ in near])
    values = ", ".join(f'"{name}"::DOUBLE AS "{name}"' for name, _ in near)
    rows = f"SELECT {values}, row_number() OVER (ORDER BY {order}) AS place FROM"
    parts = []
    for name, digits in near:
        scale = kinds[name].rpartition(",")[2].rstrip(")") if kinds[name].startswith("DECIMAL") else None
        last = f"1e-{scale}" if scale else "0"
        a, b = f'a."{name}"', f'b."{name}"'
        allowed = f"greatest({last}, abs({b}) * 1e-{digits}, 1e-300)"
        parts.append(f"coalesce(abs({a} - {b}) / {allowed}, CASE WHEN {a} IS NULL AND {b} IS NULL THEN 0 ELSE 9 END)")
    sql = f"SELECT max(greatest({', '.join(parts)})) FROM ({rows} {found}) a JOIN ({rows} {expected}) b USING (place)"
    return connection.execute(sql).fetchone()[0] or 0


def fetched(files, variables, folder):
    """A pattern of local files: those of a bucket are copied, since DuckDB's package does not speak S3."""
    if not files.startswith("s3://"):
        return files
    from pyarrow import fs

    server = fs.S3FileSystem(
        access_key=variables["S3_KEY"],
        secret_key=variables["S3_SECRET"],
        endpoint_override=variables["S3_ENDPOINT"],
        region="us-east-1",
    )
    place = files.removeprefix("s3://").partition("/*")[0]
    fs.copy_files(place, folder, source_filesystem=server, destination_filesystem=fs.LocalFileSystem())
    return f"{folder}/**/*.parquet"


def check(request):
    """Compares, in any order, the rows of the query with those in Parquet files.

    All bits count, but with "digits" those of floating-point columns do not.
    """
    connection, sql = connect(request)
    digits = request.get("digits")
    connection.execute(f"CREATE TEMP {'TABLE' if digits else 'VIEW'} expected AS {sql}")
    copies = tempfile.TemporaryDirectory(dir=os.environ.get("WEIR_BENCH_DATA"))
    files = fetched(request["files"], request["variables"], copies.name)
    connection.execute(f"CREATE TEMP VIEW found AS SELECT * FROM read_parquet('{files}')")
    columns = connection.execute("DESCRIBE expected").fetchall()
    near = [(name, digits) for name, kind, *_ in columns if digits and kind in ("DOUBLE", "FLOAT")]
    exact = [(name, kind) for name, kind, *_ in columns if name not in dict(near)]
    expected, found = (digest(connection, exact, rows) for rows in ("expected", "found"))
    equal = expected == found
    if equal and near:
        kinds = {name: kind for name, kind, *_ in connection.execute("DESCRIBE found").fetchall()}
        equal = farthest(connection, (exact, near), kinds, "found", "expected") <= 1
    connection.close()
    copies.cleanup()
    return {"equal": equal, "expected": expected, "found": found}


serve({"hello": hello, "run": run, "write": write, "check": check})
