CREATE VIEW input AS SELECT * FROM read_json('${DATA}/${TABLE}-*.json', format = 'newline_delimited', columns = {${COLUMNS_QUOTED}});
