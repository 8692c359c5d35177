-- The same with nine rules over rows, and one over keys.
CREATE SOURCE orders (
    CONSTRAINT present  EXPECT (id IS NOT NULL),
    CONSTRAINT mail     EXPECT (email ~ '^[a-z0-9._]+@[a-z0-9.]+\.[a-z]{2,}$'),
    CONSTRAINT amount   EXPECT (amount BETWEEN 0 AND 10000),
    CONSTRAINT quantity EXPECT (quantity > 0),
    CONSTRAINT country  EXPECT (country IN ('DE', 'FR', 'IT', 'ES', 'PL', 'NL', 'BE', 'AT', 'CH', 'SE')),
    CONSTRAINT status   EXPECT (status IN ('new', 'paid', 'sent', 'done')),
    CONSTRAINT ordered  EXPECT (updated >= created),
    CONSTRAINT sku      EXPECT (char_length(sku) = 7),
    CONSTRAINT total    EXPECT (abs(total - amount * quantity) < 0.01),
    CONSTRAINT key      EXPECT UNIQUE (id)
) WITH (connector = 'file', path = '${DATA}/*.parquet', format = 'parquet');
