"""What every peer speaks: one line of JSON in, one line of JSON out, until the input ends.

{"op": "hello", "threads": n}                     -> {"version": ..., "ways": [...]}
{"op": "run", "sources": ..., "query": ...}       -> {"seconds": ...}      rows are made and forgotten
{"op": "run", ..., "folder": ...}                 -> {"seconds": ...}      rows go into Parquet files
{"op": "write", ..., "folder": ...}               -> {}                    the same, untimed
All but hello: "variables", "updating", "checkpoints", "threads", and "way", one of those of hello.

A job is timed from the moment at which the engine is ready to the moment at which all rows are made.
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


def statements(text):
    """The statements of a script without its comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]
