CREATE VIEW orders AS SELECT * FROM read_parquet('${DATA}/*.parquet');
