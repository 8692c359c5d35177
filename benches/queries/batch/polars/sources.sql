region = ${DATA}/region.parquet;
nation = ${DATA}/nation.parquet;
supplier = ${DATA}/supplier.parquet;
customer = ${DATA}/customer.parquet;
part = ${DATA}/part.parquet;
partsupp = ${DATA}/partsupp.parquet;
orders = ${DATA}/orders.parquet;
lineitem = ${DATA}/lineitem.parquet;
