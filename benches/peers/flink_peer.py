"""Flink SQL: a job in a cluster within this process's JVM, in streaming mode, with Flink's own Parquet and Kafka connectors."""

import glob
import os

from protocol import serve, statements, timed

ENVIRONMENT = {}


def environment(request, mode):
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, TableEnvironment

    config = Configuration()
    threads = str(request["threads"])
    config.set_string("parallelism.default", threads)
    config.set_string("taskmanager.numberOfTaskSlots", threads)
    config.set_string("taskmanager.memory.network.max", "256m")
    config.set_string("table.local-time-zone", "UTC")
    # What Flink's documentation advises for throughput; it is off by default.
    config.set_string("pipeline.object-reuse", "true")
    if request.get("checkpoints"):
        config.set_string("execution.checkpointing.interval", "5 s")
        config.set_string("execution.checkpointing.dir", "file:///tmp/weir-bench-flink")
    settings = EnvironmentSettings.new_instance().with_configuration(config)
    settings = settings.in_streaming_mode() if mode == "streaming" else settings.in_batch_mode()
    made = TableEnvironment.create(settings.build())
    for statement in statements(request.get("sources", "")):
        made.execute_sql(statement)
    return made


def into(table, connector, options):
    from pyflink.table import Schema, TableDescriptor

    schema = Schema.new_builder().from_resolved_schema(table.get_resolved_schema()).build()
    sink = TableDescriptor.for_connector(connector).schema(schema)
    for name, value in options.items():
        sink = sink.option(name, value)
    table.execute_insert(sink.build()).wait()


def hello(request):
    os.environ.setdefault("JAVA_TOOL_OPTIONS", "-Xmx6g")
    # No Python runs in the jobs: its worker, which needs Apache Beam, is not started.
    os.environ["_python_worker_execution_mode"] = "process"
    import pyflink.version

    environment(request, "streaming")
    return {"version": pyflink.version.__version__}


def files(request):
    return {"path": request["folder"], "format": "parquet"}


def run(request):
    table = environment(request, "streaming").sql_query(statements(request["query"])[0])
    if "folder" in request:
        return {"seconds": timed(lambda: into(table, "filesystem", files(request)))}
    return {"seconds": timed(lambda: into(table, "blackhole", {}))}


def write(request):
    """In batch mode, whose results are those of the end: the query is checked, not the mode."""
    table = environment(request, "batch").sql_query(statements(request["query"])[0])
    into(table, "filesystem", files(request))
    for path in glob.glob(f"{request['folder']}/part-*"):
        os.rename(path, f"{path}.parquet")
    return {}


serve({"hello": hello, "run": run, "write": write})
