"""Pointblank on Polars: a plan of steps, one per rule, each of which counts the rows that fail."""

import os

from protocol import serve, timed_job


def hello(request):
    os.environ["POLARS_MAX_THREADS"] = str(request["threads"])
    import pointblank

    return {"version": pointblank.__version__, "anew": True}


NAMES = ["present", "mail", "amount", "quantity", "country", "status", "ordered", "sku", "total"]


def connect(request):
    return request["query"], request["sources"]


def validate(rules, folder):
    import pointblank as pb
    import polars as pl

    frame = pl.scan_parquet(f"{folder}/*.parquet").collect(engine="streaming")
    plan = (
        pb.Validate(frame)
        .col_vals_not_null("id")
        .col_vals_regex("email", r"^[a-z0-9._]+@[a-z0-9.]+\.[a-z]{2,}$")
        .col_vals_between("amount", 0, 10000)
        .col_vals_gt("quantity", 0)
        .col_vals_in_set("country", ["DE", "FR", "IT", "ES", "PL", "NL", "BE", "AT", "CH", "SE"])
        .col_vals_in_set("status", ["new", "paid", "sent", "done"])
        .col_vals_expr(pl.col("updated") >= pl.col("created"))
        .col_vals_expr(pl.col("sku").str.len_chars() == 7)
        .col_vals_expr((pl.col("total") - pl.col("amount") * pl.col("quantity")).abs() < 0.01)
    )
    if rules == "ten":
        plan = plan.rows_distinct(columns_subset="id")
    return plan.interrogate(collect_extracts=False), frame


def run(request):
    return {"seconds": timed_job(request, connect, validate)}


def write(request):
    import polars as pl

    plan, frame = validate(*connect(request))
    failed = plan.n_failed()
    rows = [(name, failed[place + 1]) for place, name in enumerate(NAMES)]
    if request["query"] == "ten":
        # It counts all rows of a key that comes twice; what the others count is those after the first.
        ids = frame["id"].drop_nulls()
        rows.append(("key", ids.len() - ids.n_unique()))
    pl.DataFrame(rows, schema={"rule": pl.String, "violated": pl.Int64}, orient="row").write_parquet(
        f"{request['folder']}/rows.parquet"
    )
    return {}


serve({"hello": hello, "run": run, "write": write})
