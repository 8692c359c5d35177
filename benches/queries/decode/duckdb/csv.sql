CREATE VIEW input AS SELECT * FROM read_csv('${DATA}/${TABLE}-*.csv', header = true, auto_detect = false, columns = {${COLUMNS_QUOTED}});
