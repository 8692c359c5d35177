"""pandera on Polars: a schema with a check per rule, each of which says which rows fail."""

import os

from protocol import serve, timed_job


def hello(request):
    os.environ["POLARS_MAX_THREADS"] = str(request["threads"])
    os.environ["DISABLE_PANDERA_IMPORT_WARNING"] = "True"
    import pandera
    import pandera.polars  # what is loaded with the first schema is no part of a run

    return {"version": pandera.__version__, "anew": True}


def schema(rules):
    import pandera.polars as pa
    import polars as pl

    countries = ["DE", "FR", "IT", "ES", "PL", "NL", "BE", "AT", "CH", "SE"]
    ordered = pa.Check(lambda data: data.lazyframe.select(pl.col("updated") >= pl.col("created")), name="ordered")
    total = pa.Check(
        lambda data: data.lazyframe.select((pl.col("total") - pl.col("amount") * pl.col("quantity")).abs() < 0.01),
        name="total",
    )
    columns = {
        "id": pa.Column(nullable=False),
        "email": pa.Column(checks=pa.Check.str_matches(r"^[a-z0-9._]+@[a-z0-9.]+\.[a-z]{2,}$", name="mail")),
        "amount": pa.Column(checks=pa.Check.in_range(0, 10000, name="amount")),
        "quantity": pa.Column(checks=pa.Check.gt(0, name="quantity")),
        "country": pa.Column(checks=pa.Check.isin(countries, name="country")),
        "status": pa.Column(checks=pa.Check.isin(["new", "paid", "sent", "done"], name="status")),
        "sku": pa.Column(checks=pa.Check.str_length(min_value=7, max_value=7, name="sku")),
    }
    unique = ["id"] if rules == "ten" else None
    return pa.DataFrameSchema(columns, checks=[ordered, total], unique=unique)


def connect(request):
    import polars as pl

    return schema(request["query"]), pl.scan_parquet(f"{request['sources']}/*.parquet")


def validate(schema, frame):
    """The rows that fail, by the name of the check."""
    import pandera.errors

    try:
        schema.validate(frame.collect(engine="streaming"), lazy=True)
    except pandera.errors.SchemaErrors as errors:
        return errors.failure_cases
    return None


def run(request):
    return {"seconds": timed_job(request, connect, validate)}


def write(request):
    import polars as pl

    made, frame = connect(request)
    cases = validate(made, frame)
    names = {"id": "present", "email": "mail"}
    counts = cases.group_by("column", "check").len().rows()
    found = {names.get(column, column or check): count for column, check, count in counts}
    rules = ["present", "mail", "amount", "quantity", "country", "status", "ordered", "sku", "total"]
    rows = [(rule, found.get(rule, 0)) for rule in rules]
    if request["query"] == "ten":
        # It counts all rows of a key that comes twice; what the others count is those after the first.
        ids = pl.col("id").drop_nulls()
        rows.append(("key", frame.select(ids.len() - ids.n_unique()).collect().item()))
    pl.DataFrame(rows, schema={"rule": pl.String, "violated": pl.Int64}, orient="row").write_parquet(
        f"{request['folder']}/rows.parquet"
    )
    return {}


serve({"hello": hello, "run": run, "write": write})
