"""What every peer speaks: one line of JSON in, one line of JSON out, until the input ends.

{"op": "hello", "threads": n}                     -> {"version": ..., "ways": [...], "anew": bool}
{"op": "run", "sources": ..., "query": ...}       -> {"seconds": ...}      rows are made and forgotten
{"op": "run", ..., "folder": ...}                 -> {"seconds": ...}      rows go into Parquet files
{"op": "write", ..., "folder": ...}               -> {}                    the same, untimed
{"op": "start", ...}, {"op": "stop"}              -> {}                    a job without an end; of Flink
All but hello and stop: "variables", "updating", "checkpoints", "threads", "memory", "from_text", and "way", one of those of hello.

With "anew" each timed run is asked of a new process, as Weir is started anew for each: memory that an earlier run has
touched costs nothing. Engines with servers or a JVM stay, and so stay warm.

A job is timed from the moment at which the engine is ready to the moment at which all rows are made; with "from_text"
from the text of the sources and the query, so that finding files, reading schemas and planning count as well.
"""

import json
import os
import sys
import time


def serve(answers):
    """Answers requests with functions by the name of the operation."""
    # What libraries and their children print must not get between the answers.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = answers[request["op"]](request)
        except Exception as error:  # the harness reports it beside the case
            reply = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps(reply, default=str), file=out, flush=True)


def timed(run):
    """Runs something and gives the seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def timed_job(request, connect, run):
    """The seconds of `run(*connect(request))`, where `connect` counts if the job is timed from its text."""
    if request.get("from_text"):
        return timed(lambda: run(*connect(request)))
    made = connect(request)
    return timed(lambda: run(*made))


def statements(text):
    """The statements of a script without its comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


def bytes_of(size):
    """The bytes of a size such as 4GiB or 512MB."""
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1}
    for unit, factor in units.items():
        if size.endswith(unit):
            return int(float(size[: -len(unit)]) * factor)
    return int(size)
