#!/usr/bin/env bash
# Installs the peers that the benchmarks compare with, at pinned versions, each into a virtual environment of its own
# below ~/.cache/weir/peers (WEIR_BENCH_PEERS moves it). Names install only those. Safe to repeat.
#   bash benches/peers/install.sh            # all: 4 GB, 1.6 of them Pathway
#   bash benches/peers/install.sh duckdb     # enough to check Weir's rows
set -euo pipefail
cd "$(dirname "$0")"

python=${PYTHON:-python3}
root="${WEIR_BENCH_PEERS:-$HOME/.cache/weir/peers}"
mkdir -p "$root"

# Jars of Maven Central that Flink's package leaves out: its Parquet and Kafka connectors, and what Parquet needs of Hadoop.
flink_jars=(
    org.apache.flink:flink-sql-parquet:2.3.0
    org.apache.flink:flink-sql-connector-kafka:4.0.1-2.0
    org.apache.hadoop:hadoop-client-api:3.4.2
    org.apache.hadoop:hadoop-client-runtime:3.4.2
)

install() {
    local peer="$1" venv="$root/$1"
    if cmp -s "requirements/$peer.txt" "$venv/requirements.txt"; then
        echo "$peer is there"
        return
    fi
    rm -rf "$venv"
    "$python" -m venv "$venv"
    # Flink asks for libraries of its Python workers, which no job here has, and which take an hour to build.
    local deps=()
    [ "$peer" = flink ] && deps=(--no-deps)
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${deps[@]}" --requirement "requirements/$peer.txt"
    if [ "$peer" = flink ]; then
        for jar in "${flink_jars[@]}"; do
            mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dartifact="$jar" \
                -DoutputDirectory="$(echo "$venv"/lib/python*/site-packages/pyflink/lib)"
        done
    fi
    cp "requirements/$peer.txt" "$venv/requirements.txt"
    echo "$peer: $(tr '\n' ' ' <"requirements/$peer.txt")"
}

if [ $# -eq 0 ]; then
    set -- duckdb polars datafusion flink spark bytewax pathway tpch pandera pointblank great_expectations
fi
for peer in "$@"; do
    [ -f "requirements/$peer.txt" ] || { echo "no peer is called $peer" >&2; exit 1; }
    install "$peer"
done
