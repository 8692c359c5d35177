-- A topic that `weir-bench decode` fills, read to the end that it has at the start.
CREATE SOURCE input (${COLUMNS}) WITH (
    connector = 'kafka', bootstrap_servers = '${BROKER}', topic = '${TOPIC}', stop = 'latest', ${FORMAT}
);
