CREATE SINK result WITH (
    connector = 'kafka', bootstrap_servers = '${BROKER}', topic = '${OUT}', format = 'json', delivery = '${DELIVERY}'
) AS
