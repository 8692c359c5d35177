"""DataFusion alone, the batch engine whose parts Weir uses."""

import datafusion
from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext

from protocol import serve, statements, timed


def connect(request):
    config = SessionConfig().with_target_partitions(int(request["threads"]))
    context = SessionContext(config, RuntimeEnvBuilder())
    for statement in statements(request["sources"]):
        context.sql(statement).collect()
    return context, statements(request["query"])[0]


def hello(_request):
    return {"version": datafusion.__version__}


def run(request):
    context, sql = connect(request)

    def forget():
        for stream in context.sql(sql).execute_stream_partitioned():
            for _batch in stream:
                pass

    return {"seconds": timed(forget)}


def write(request):
    context, sql = connect(request)
    context.sql(sql).write_parquet(request["folder"])
    return {}


serve({"hello": hello, "run": run, "write": write})
