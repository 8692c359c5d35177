"""DataFusion alone, the batch engine whose parts Weir uses, with Weir's memory budget.

Two ways to forget rows: "stream" takes them from all partitions at once, "partitions" one partition after the other.
"""

import datafusion
from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext

from protocol import bytes_of, serve, statements, timed_job


def connect(request):
    config = SessionConfig().with_target_partitions(int(request["threads"]))
    context = SessionContext(config, RuntimeEnvBuilder().with_greedy_memory_pool(bytes_of(request["memory"])))
    for statement in statements(request["sources"]):
        context.sql(statement).collect()
    return context, statements(request["query"])[0]


def hello(_request):
    # What is loaded with the first query is no part of a run.
    SessionContext().sql("SELECT 1").collect()
    return {"version": datafusion.__version__, "ways": ["stream", "partitions"], "anew": True}


def run(request):
    def forget(context, sql):
        frame = context.sql(sql)
        whole = request["way"] == "stream"
        for stream in [frame.execute_stream()] if whole else frame.execute_stream_partitioned():
            for _batch in stream:
                pass

    return {"seconds": timed_job(request, connect, forget)}


def write(request):
    context, sql = connect(request)
    context.sql(sql).write_parquet(request["folder"])
    return {}


serve({"hello": hello, "run": run, "write": write})
