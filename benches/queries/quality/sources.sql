-- Orders in two Parquet files that `weir-bench quality` makes, without rules.
CREATE SOURCE orders WITH (connector = 'file', path = '${DATA}/*.parquet', format = 'parquet');
