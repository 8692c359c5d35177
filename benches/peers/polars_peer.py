"""Polars: a batch engine, in its streaming mode. A query is the name of a function here, or SQL."""

import os

from protocol import serve, statements, timed_job


def hello(request):
    # Read when the library is loaded.
    os.environ["POLARS_MAX_THREADS"] = str(request["threads"])
    import polars

    # What is loaded with the first query is no part of a run.
    polars.LazyFrame({"a": [1]}).collect(engine="streaming")
    return {"version": polars.__version__, "anew": True}


def tumble(folder):
    import polars as pl

    return (
        pl.scan_parquet(f"{folder}/*.parquet")
        .group_by(pl.col("ts").dt.truncate("10s").alias("window_start"), "key")
        .agg(pl.len().cast(pl.Int64).alias("c"), pl.col("value").sum().alias("s"))
    )


QUERIES = {"tumble": tumble}


def connect(request):
    """The query as a lazy frame. Sources of SQL are lines `name = files;`."""
    import polars as pl

    if request["query"] in QUERIES:
        return (QUERIES[request["query"]](request["sources"]),)
    pairs = [statement.split(" = ") for statement in statements(request["sources"])]
    context = pl.SQLContext({name: pl.scan_parquet(path) for name, path in pairs})
    return (context.execute(statements(request["query"])[0]),)


def run(request):
    return {"seconds": timed_job(request, connect, lambda frame: frame.collect(engine="streaming"))}


def write(request):
    (frame,) = connect(request)
    frame.collect(engine="streaming").write_parquet(f"{request['folder']}/rows.parquet")
    return {}


serve({"hello": hello, "run": run, "write": write})
