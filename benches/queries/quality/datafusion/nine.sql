-- Each rule with the rows that break it, in one pass.
SELECT unnest(make_array('present', 'mail', 'amount', 'quantity', 'country', 'status', 'ordered', 'sku', 'total')) AS rule,
    unnest(make_array(n0, n1, n2, n3, n4, n5, n6, n7, n8)) AS violated
FROM (SELECT
    count(*) FILTER (WHERE id IS NULL) AS n0,
    count(*) FILTER (WHERE NOT (email ~ '^[a-z0-9._]+@[a-z0-9.]+\.[a-z]{2,}$')) AS n1,
    count(*) FILTER (WHERE NOT (amount BETWEEN 0 AND 10000)) AS n2,
    count(*) FILTER (WHERE NOT (quantity > 0)) AS n3,
    count(*) FILTER (WHERE country NOT IN ('DE', 'FR', 'IT', 'ES', 'PL', 'NL', 'BE', 'AT', 'CH', 'SE')) AS n4,
    count(*) FILTER (WHERE status NOT IN ('new', 'paid', 'sent', 'done')) AS n5,
    count(*) FILTER (WHERE NOT (updated >= created)) AS n6,
    count(*) FILTER (WHERE length(sku) <> 7) AS n7,
    count(*) FILTER (WHERE NOT (abs(total - amount * quantity) < 0.01)) AS n8
  FROM orders)
