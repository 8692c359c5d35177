#!/usr/bin/env bash
# Runs the Kafka broker of the tests (`bash tests/run` fetches it) on 127.0.0.1:9092 until it is stopped.
set -euo pipefail
cache="${WEIR_CACHE:-$HOME/.cache/weir}"
port="${1:-9092}"
[ -d "$cache/kafka/libs" ] || { echo "$cache/kafka/libs is missing: bash tests/run fetches it" >&2; exit 1; }
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cat >"$folder/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$folder/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
EOF
run() { java -Xmx1g -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$cache/kafka/libs/*" "$@"; }
run kafka.tools.StorageTool format --cluster-id bm90LWEtc2VjcmV0LTE2Yg --config "$folder/server.properties"
echo "127.0.0.1:$port; Ctrl-C stops it"
run kafka.Kafka "$folder/server.properties"
