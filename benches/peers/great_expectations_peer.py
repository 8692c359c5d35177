"""Great Expectations on pandas: a suite with an expectation per rule."""

import os

from protocol import serve, timed_job

os.environ["TQDM_DISABLE"] = "1"


def hello(_request):
    import great_expectations
    import pandas  # noqa: F401  what is loaded with the first suite is no part of a run

    return {"version": great_expectations.__version__, "anew": True}


NAMES = ["present", "mail", "amount", "quantity", "country", "status", "ordered", "sku", "total"]


def connect(request):
    return request["query"], request["sources"]


def validate(rules, folder):
    import great_expectations as gx
    import pandas as pd

    frame = pd.read_parquet(folder)
    # No expectation compares with a tolerance: the distance is a column.
    frame["off"] = (frame["total"] - frame["amount"] * frame["quantity"]).abs()
    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("orders").add_dataframe_asset("orders")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    e = gx.expectations
    suite = gx.ExpectationSuite("orders")
    expectations = [
        e.ExpectColumnValuesToNotBeNull(column="id"),
        e.ExpectColumnValuesToMatchRegex(column="email", regex=r"^[a-z0-9._]+@[a-z0-9.]+\.[a-z]{2,}$"),
        e.ExpectColumnValuesToBeBetween(column="amount", min_value=0, max_value=10000),
        e.ExpectColumnValuesToBeBetween(column="quantity", min_value=0, strict_min=True),
        e.ExpectColumnValuesToBeInSet(
            column="country", value_set=["DE", "FR", "IT", "ES", "PL", "NL", "BE", "AT", "CH", "SE"]
        ),
        e.ExpectColumnValuesToBeInSet(column="status", value_set=["new", "paid", "sent", "done"]),
        e.ExpectColumnPairValuesAToBeGreaterThanB(column_A="updated", column_B="created", or_equal=True),
        e.ExpectColumnValueLengthsToEqual(column="sku", value=7),
        e.ExpectColumnValuesToBeBetween(column="off", max_value=0.01, strict_max=True),
    ]
    if rules == "ten":
        expectations.append(e.ExpectColumnValuesToBeUnique(column="id"))
    for expectation in expectations:
        suite.add_expectation(expectation)
    return batch.validate(suite, result_format="BASIC"), frame


def run(request):
    return {"seconds": timed_job(request, connect, validate)}


def write(request):
    import pandas as pd

    result, frame = validate(*connect(request))
    # Results come in an order of their own; of two expectations of one column the first is not about keys.
    counts = {}
    for told in result.results:
        values = told.expectation_config["kwargs"]
        if "unique" not in told.expectation_config["type"]:
            counts[values.get("column") or values["column_A"]] = told.result["unexpected_count"]
    columns = ["id", "email", "amount", "quantity", "country", "status", "updated", "sku", "off"]
    rows = [(name, counts[column]) for name, column in zip(NAMES, columns)]
    if request["query"] == "ten":
        # It counts all rows of a key that comes twice; what the others count is those after the first.
        ids = frame["id"].dropna()
        rows.append(("key", len(ids) - ids.nunique()))
    pd.DataFrame(rows, columns=["rule", "violated"]).to_parquet(f"{request['folder']}/rows.parquet")
    return {}


serve({"hello": hello, "run": run, "write": write})
