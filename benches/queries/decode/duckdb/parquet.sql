CREATE VIEW input AS SELECT * FROM read_parquet('${DATA}/${TABLE}-*.parquet');
