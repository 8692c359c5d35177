#!/usr/bin/env bash
# Installs the peers that the benchmarks compare with, at pinned versions, into a virtual
# environment beside this script. Safe to repeat.
set -euo pipefail
cd "$(dirname "$0")"

python=${PYTHON:-python3}
if [ ! -x venv/bin/python ]; then
    "$python" -m venv venv
fi
venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
venv/bin/python -c 'import duckdb, polars, pyarrow
print("duckdb", duckdb.__version__, "| polars", polars.__version__, "| pyarrow", pyarrow.__version__)'
