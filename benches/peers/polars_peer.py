"""Polars: a batch engine, in its streaming mode."""

import os

from protocol import serve, timed


def hello(request):
    # Read when the library is loaded.
    os.environ["POLARS_MAX_THREADS"] = str(request["threads"])
    import polars

    return {"version": polars.__version__}


def tumble(folder):
    import polars as pl

    return (
        pl.scan_parquet(f"{folder}/*.parquet")
        .group_by(pl.col("ts").dt.truncate("10s").alias("window_start"), "key")
        .agg(pl.len().cast(pl.Int64).alias("c"), pl.col("value").sum().alias("s"))
    )


QUERIES = {"tumble": tumble}


def run(request):
    query = QUERIES[request["query"]](request["sources"])
    return {"seconds": timed(lambda: query.collect(engine="streaming"))}


def write(request):
    query = QUERIES[request["query"]](request["sources"])
    query.collect(engine="streaming").write_parquet(f"{request['folder']}/rows.parquet")
    return {}


serve({"hello": hello, "run": run, "write": write})
