CREATE VIEW bid AS SELECT * FROM read_parquet('${DATA}/bid*.parquet');
