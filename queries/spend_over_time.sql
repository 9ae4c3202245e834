-- What each platform cost, over time.
-- unit: money in `currency`, exact, one row for each currency; buckets are UTC; no row where nothing has a price, which is not 0
-- note: calls without a price are in no sum: `unpriced_calls` tells which; failed calls that cost nothing have no currency and no row
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param bucket interval = interval '1 hour'
-- filter platform, model, region, team, environment, feature
SELECT
  date_bin($bucket, ts) AS bucket,
  platform,
  currency,
  count(*) AS calls,
  sum(list_cost) AS list_cost,
  sum(cost) AS cost
FROM calls
WHERE ts >= $from AND ts < $to AND $filters AND currency IS NOT NULL
GROUP BY 1, platform, currency
ORDER BY 1, platform, currency
