-- Bids of Nexmark in two Parquet files that `weir-bench nexmark` makes.
CREATE SOURCE bid WITH (connector = 'file', path = '${DATA}/bid*.parquet', format = 'parquet');
