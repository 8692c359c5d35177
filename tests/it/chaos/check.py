"""Reads what a reader is told is committed, and holds it against the answer in closed form.

usage: check.py serve            answers one request of JSON per line
       check.py rows SEED PARTS  prints the rows of a topic for ever: partition, a tab, JSON

Row number `id` of a run has: part = id % parts, seq = id // parts, payload = md5(seed:id),
h = md5(part:seq:payload). Nothing here is Weir's: files are read by pyarrow, compared by DuckDB.
"""

import hashlib
import json
import os
import posixpath
import sys
import traceback

START = "2026-01-01 00:00:00"
START_MS = 1767225600000


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def disorder(number):
    """Milliseconds by which a row's event time is behind its place."""
    return (number * 7919) % 300


def rows(seed, parts):
    number = 0
    while True:
        part, seq = number % parts, number // parts
        payload = md5(f"{seed}:{number}")
        row = {
            "id": number,
            "part": part,
            "seq": seq,
            "ts": START_MS + number - disorder(number),
            "payload": payload,
            "h": md5(f"{part}:{seq}:{payload}"),
        }
        print(f"{part}\t{json.dumps(row, separators=(',', ':'))}")
        number += 1


class Place:
    """A folder on disk or in S3, and which files of it are visible."""

    def __init__(self, request):
        import pyarrow.fs as fs

        self.delta = request.get("delta", False)
        if "folder" in request:
            self.fs, self.root = fs.LocalFileSystem(), request["folder"]
        else:
            self.fs = fs.S3FileSystem(
                endpoint_override=request["endpoint"],
                scheme="http",
                region="us-east-1",
                access_key=request["key"],
                secret_key=request["secret"],
            )
            self.root = request["bucket"] + "/" + request["prefix"]

    def files(self):
        return self.in_log() if self.delta else self.in_folder()

    def in_folder(self):
        """Every file that no reader leaves out: names that begin with _ or . are left out."""
        import pyarrow.fs as fs

        found = []
        for info in self.fs.get_file_info(fs.FileSelector(self.root, recursive=True, allow_not_found=True)):
            name = posixpath.relpath(info.path, self.root)
            hidden = any(part.startswith(("_", ".")) for part in name.split("/"))
            if info.type == fs.FileType.File and not hidden:
                found.append((name, info.size))
        return found

    def check_clean(self):
        """When all is committed, no file waits for its commit, and none is there that no log names."""
        import pyarrow.fs as fs

        selector = fs.FileSelector(self.root + "/_temporary", recursive=True, allow_not_found=True)
        hidden = [i.path for i in self.fs.get_file_info(selector) if i.type == fs.FileType.File]
        # A start that is killed while it tries what it may do leaves that.
        hidden = [path for path in hidden if not posixpath.basename(path).startswith("probe-")]
        if hidden:
            raise ValueError(f"files that nobody will commit: {hidden}")
        unnamed = set(self.in_folder()) - set(self.files())
        if unnamed:
            raise ValueError(f"files that no log names: {sorted(unnamed)}")

    def in_log(self):
        """What Delta's log adds and does not remove, version by version without a gap."""
        import pyarrow.fs as fs

        visible = {}
        selector = fs.FileSelector(self.root + "/_delta_log", allow_not_found=True)
        versions = sorted(i.path for i in self.fs.get_file_info(selector) if i.path.endswith(".json"))
        for number, path in enumerate(versions):
            if int(posixpath.basename(path)[:-5]) != number:
                raise ValueError(f"version {number} is missing in Delta's log: {path}")
            for line in self.fs.open_input_file(path).read().decode().splitlines():
                action = json.loads(line)
                if "add" in action:
                    name = action["add"]["path"]
                    if name in visible:
                        raise ValueError(f"{name} is added twice")
                    visible[name] = action["add"]["size"]
                if "remove" in action:
                    del visible[action["remove"]["path"]]
        return sorted(visible.items())


class Reader:
    """The visible files of one run. A file is read when it is first seen, and must never change or go."""

    def __init__(self):
        self.tables = {}
        self.first_seen = {}

    def read(self, request):
        import pyarrow as pa
        import pyarrow.json as lines
        import pyarrow.parquet as parquet

        place, kill = Place(request), request["kill"]
        files = dict(place.files())
        for name in self.tables:
            if name not in files:
                raise ValueError(f"{name}, seen after kill {self.first_seen[name]}, is gone")
        for name, size in files.items():
            if not name.endswith((".parquet", ".lines")):
                raise ValueError(f"{name} is visible and no file of rows")
            if size == 0:
                raise ValueError(f"{name} is empty")
            if name in self.tables and self.tables[name][0] == size and not request["last"]:
                continue
            if name in self.tables and self.tables[name][0] != size:
                raise ValueError(f"{name} had {self.tables[name][0]} bytes and has {size}")
            with place.fs.open_input_file(posixpath.join(place.root, name)) as file:
                table = parquet.read_table(file) if name.endswith(".parquet") else lines.read_json(file)
            table.validate(full=True)
            seen = self.first_seen.setdefault(name, kill)
            count = table.num_rows
            table = table.append_column("file", pa.array([name] * count, pa.string()))
            table = table.append_column("after_kill", pa.array([seen] * count, pa.int64()))
            self.tables[name] = (size, table)
        tables = [table for _, table in self.tables.values()]
        return pa.concat_tables(tables) if tables else None


def first(con, sql):
    """The first row that is wrong, with its names."""
    cursor = con.execute(sql + " LIMIT 1")
    row = cursor.fetchone()
    return None if row is None else dict(zip([d[0] for d in cursor.description], map(str, row)))


def must_be_empty(con, what, sql):
    wrong = first(con, sql)
    if wrong is not None:
        count = con.execute(f"SELECT count(*) FROM ({sql})").fetchone()[0]
        raise ValueError(f"{what}: {wrong}, the first of {count}")


SUM = """SELECT coalesce(sum(cast('0x' || substr(h, 1, 16) AS UBIGINT)::HUGEINT), 0),
                coalesce(sum(cast('0x' || substr(h, 17) AS UBIGINT)::HUGEINT), 0) FROM """


def hash_sum(con, table):
    high, low = con.execute(SUM + table).fetchone()
    return ((int(high) << 64) + int(low)) % (1 << 128)


def oracle(con, request, count):
    """The rows of a run, computed from their numbers alone."""
    seed, parts = request["seed"], request["parts"]
    con.execute(f"""CREATE OR REPLACE TEMP TABLE oracle AS
        SELECT id, id % {parts} AS part, id // {parts} AS seq,
               md5('{seed}:' || id) AS payload,
               md5((id % {parts}) || ':' || (id // {parts}) || ':' || md5('{seed}:' || id)) AS h
        FROM range({count}) AS numbers(id)""")


def check_rows(con, request):
    """Each row is there once: all within `low`, none beyond `high`, which are rows per partition."""
    low, high = request["low"], request["high"]
    must_be_empty(con, "a row is there twice", """
        SELECT part, seq, count(*) AS times, list(file) AS files, list(after_kill) AS after_kill
        FROM found GROUP BY part, seq HAVING count(*) > 1 ORDER BY part, seq""")
    count = 0
    for part in range(request["parts"]):
        must_be_empty(con, f"a row that no checkpoint has, at or beyond {high[part]}", f"""
            SELECT * FROM found WHERE part = {part} AND seq >= {high[part]} ORDER BY seq""")
        must_be_empty(con, f"a row is lost, below {low[part]}", f"""
            SELECT {part} AS part, seq FROM range({low[part]}) AS all_rows(seq)
            ANTI JOIN (SELECT seq FROM found WHERE part = {part}) USING (seq) ORDER BY seq""")
        count += high[part]
    must_be_empty(con, "a row is not in any partition", f"""
        SELECT * FROM found WHERE part NOT BETWEEN 0 AND {request["parts"] - 1} OR seq < 0""")
    oracle(con, request, max(high) * request["parts"])
    must_be_empty(con, "a row is not what its number gives", """
        SELECT f.*, o.payload AS payload_due, o.h AS h_due FROM found f JOIN oracle o USING (part, seq)
        WHERE f.payload IS DISTINCT FROM o.payload OR f.h IS DISTINCT FROM o.h ORDER BY part, seq""")
    if low == high:
        limits = " OR ".join(f"(part = {part} AND seq < {most})" for part, most in enumerate(high))
        due = f"(SELECT h FROM oracle WHERE {limits})"
        if hash_sum(con, "found") != hash_sum(con, due):
            raise ValueError("the sums of h modulo 2^128 differ")
    return low == high


def check_answer(con, request):
    """Each row is one of the answer's, no more often than there, and at the end all are there."""
    con.execute("CREATE OR REPLACE TEMP TABLE answer AS " + request["answer"])
    columns = [row[0] for row in con.execute("DESCRIBE answer").fetchall()]
    names = ", ".join(columns)
    same = " AND ".join(f"f.{c} IS NOT DISTINCT FROM a.{c}" for c in columns)
    must_be_empty(con, "a row is wrong or there too often", f"""
        SELECT f.*, a.times AS times_due FROM
            (SELECT {names}, count(*) AS times, list(file) AS files, list(after_kill) AS after_kill
             FROM found GROUP BY {names}) f
        LEFT JOIN (SELECT *, count(*) AS times FROM answer GROUP BY ALL) a ON {same}
        WHERE a.times IS NULL OR f.times > a.times""")
    lost = f"SELECT {names} FROM answer WHERE {request['due']} EXCEPT ALL SELECT {names} FROM found ORDER BY ALL"
    if request["last"]:
        must_be_empty(con, "a row is lost", lost)
    return first(con, lost) is None


def answer(reader, request):
    import duckdb

    if request["check"] == "clean":
        Place(request).check_clean()
        return {"rows": 0, "complete": True}
    table = reader.read(request)
    if table is None:
        if request["last"] or sum(request.get("low", [])) > 0:
            raise ValueError("no row is visible")
        return {"rows": 0, "files": 0, "complete": False}
    con = duckdb.connect()
    con.execute("SET threads = 1; SET TimeZone = 'UTC'")
    con.register("found", table)
    complete = {"rows": check_rows, "answer": check_answer}[request["check"]](con, request)
    return {"rows": table.num_rows, "files": len(reader.tables), "complete": complete}


def serve():
    readers = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = answer(readers.setdefault(request["run"], Reader()), request)
        except ValueError as wrong:
            result = {"wrong": str(wrong)}
        except Exception:
            result = {"wrong": traceback.format_exc()}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    try:
        rows(sys.argv[2], int(sys.argv[3])) if sys.argv[1] == "rows" else None
    except BrokenPipeError:
        os._exit(0)
