CREATE VIEW person AS SELECT * FROM read_parquet('${DATA}/person*.parquet');
CREATE VIEW auction AS SELECT * FROM read_parquet('${DATA}/auction*.parquet');
CREATE VIEW bid AS SELECT * FROM read_parquet('${DATA}/bid*.parquet');
CREATE VIEW side_input AS SELECT * FROM read_parquet('${DATA}/side_input.parquet');
