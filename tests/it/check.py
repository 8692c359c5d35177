"""Reads a folder of Parquet files with DuckDB and with pyarrow, and prints what each found as JSON.

usage: check.py FOLDER
Per reader: the rows, and per column the count of values, and sum (numbers), least and greatest as text.
"""

import glob
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds


def number(value):
    return None if value is None else float(value)


def text(value):
    return None if value is None else str(value)


def by_duckdb(folder):
    con = duckdb.connect()
    table = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
    columns = con.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()
    result = {"rows": con.execute(f"SELECT count(*) FROM {table}").fetchone()[0], "columns": {}}
    numeric = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UBIGINT", "FLOAT", "DOUBLE", "DECIMAL")
    for name, kind, *_ in columns:
        total = f'sum("{name}")' if kind.split("(")[0] in numeric else "NULL"
        row = con.execute(f'SELECT count("{name}"), {total}, min("{name}")::VARCHAR, max("{name}")::VARCHAR FROM {table}').fetchone()
        result["columns"][name] = {"count": row[0], "sum": number(row[1]), "min": row[2], "max": row[3]}
    return result


def by_pyarrow(folder):
    # Each file is read whole once more, so that a damaged page does not pass.
    for path in glob.glob(f"{folder}/**/*.parquet", recursive=True):
        pa.parquet.read_table(path, partitioning=None).validate(full=True)
    table = ds.dataset(folder, format="parquet", partitioning="hive").to_table()
    result = {"rows": table.num_rows, "columns": {}}
    for name in table.column_names:
        column = table[name]
        kind = column.type
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        total = number(pc.sum(column).as_py()) if numeric else None
        if pa.types.is_list(kind):
            # Lists have no order in pyarrow.
            ends = {"min": pa.scalar(None), "max": pa.scalar(None)}
        elif pa.types.is_dictionary(kind):
            ends = pc.min_max(column.cast(pa.string()))
        else:
            ends = pc.min_max(column)
        result["columns"][name] = {
            "count": table.num_rows - column.null_count,
            "sum": total,
            "min": text(ends["min"].as_py()),
            "max": text(ends["max"].as_py()),
        }
    return result


if __name__ == "__main__":
    import pyarrow.parquet

    print(json.dumps({"duckdb": by_duckdb(sys.argv[1]), "pyarrow": by_pyarrow(sys.argv[1])}))
