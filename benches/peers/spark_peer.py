"""Spark's structured streaming: each job reads all files that are there (`availableNow`), in micro batches."""

import atexit
import tempfile

from protocol import serve, timed

SESSION = None


def session(request):
    global SESSION
    if SESSION is None:
        from pyspark.sql import SparkSession

        SESSION = (
            SparkSession.builder.master(f"local[{int(request['threads'])}]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.memory", "6g")
            .config("spark.sql.shuffle.partitions", request["threads"])
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.log.level", "ERROR")
            .getOrCreate()
        )
        atexit.register(SESSION.stop)
    return SESSION


def hello(request):
    return {"version": session(request).version}


def tumble(spark, folder):
    schema = spark.read.parquet(folder).schema
    rows = spark.readStream.schema(schema).parquet(folder).selectExpr("CAST(ts AS TIMESTAMP) AS ts", "key", "value")
    rows = rows.withWatermark("ts", "2 seconds")
    rows.createOrReplaceTempView("input")
    return spark.sql(
        "SELECT CAST(window.start AS TIMESTAMP_NTZ) AS window_start, key, count(*) AS c, sum(value) AS s "
        "FROM input GROUP BY window(ts, '10 seconds'), key"
    )


QUERIES = {"tumble": tumble}


def stream(request, sink):
    spark = session(request)
    query = QUERIES[request["query"]](spark, request["sources"])
    writer = query.writeStream.outputMode("complete").trigger(availableNow=True)
    with tempfile.TemporaryDirectory() as state:
        sink(writer.option("checkpointLocation", state)).start().awaitTermination()


def run(request):
    return {"seconds": timed(lambda: stream(request, lambda writer: writer.format("noop")))}


def write(request):
    def keep(batch, _number):
        batch.write.mode("overwrite").parquet(request["folder"])

    stream(request, lambda writer: writer.foreachBatch(keep))
    return {}


serve({"hello": hello, "run": run, "write": write})
