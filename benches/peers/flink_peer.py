"""Flink SQL: a job in a cluster within this process's JVM, in streaming mode, with Flink's own Parquet and Kafka connectors."""

import glob
import os

from protocol import serve, statements, timed

# What lowers latency: no waiting for buffers to fill, watermarks at once instead of five times in a second.
LOW_LATENCY = {"execution.buffer-timeout.interval": "1 ms", "pipeline.auto-watermark-interval": "5 ms"}
RUNNING = []


def environment(request, mode, more=None):
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
    for name, value in (more or {}).items():
        config.set_string(name, value)
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
    return table.execute_insert(sink.build())


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
        return {"seconds": timed(lambda: into(table, "filesystem", files(request)).wait())}
    return {"seconds": timed(lambda: into(table, "blackhole", {}).wait())}


def write(request):
    """Results that change are those of batch mode, which gives the last ones; files take no others."""
    mode = "batch" if request.get("updating") else "streaming"
    # Files of a stream appear with checkpoints, the last one at its end.
    table = environment({**request, "checkpoints": True}, mode).sql_query(statements(request["query"])[0])
    into(table, "filesystem", files(request)).wait()
    for path in glob.glob(f"{request['folder']}/part-*"):
        os.rename(path, f"{path}.parquet")
    return {}


def start(request):
    """Into the topic `OUT`; with `exactly_once` in transactions that end with a checkpoint."""
    variables = request["variables"]
    exactly_once = variables["DELIVERY"] == "exactly_once"
    more = dict(LOW_LATENCY)
    if exactly_once:
        more["execution.checkpointing.interval"] = variables["INTERVAL"]
        more["execution.checkpointing.dir"] = "file:///tmp/weir-bench-flink"
    sink = {
        "properties.bootstrap.servers": variables["BROKER"],
        "topic": variables["OUT"],
        "format": "json",
        "sink.delivery-guarantee": "exactly-once" if exactly_once else "at-least-once",
        "properties.linger.ms": "5",
    }
    if exactly_once:
        sink["sink.transactional-id-prefix"] = variables["OUT"]
        # The broker allows no more than 15 minutes, Flink asks for an hour.
        sink["properties.transaction.timeout.ms"] = "600000"
    table = environment(request, "streaming", more).sql_query(statements(request["query"])[0])
    RUNNING.append(into(table, "kafka", sink))
    return {}


def stop(_request):
    RUNNING.pop().get_job_client().cancel().result()
    return {}


serve({"hello": hello, "run": run, "write": write, "start": start, "stop": stop})
