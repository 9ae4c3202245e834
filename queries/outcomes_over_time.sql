-- How calls ended, over time.
-- unit: calls; buckets are UTC; `unknown` is what no witness says, `cancelled` what callers broke off
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param bucket interval = interval '5 minutes'
-- filter platform, model, region, team, environment, feature
SELECT
  date_bin($bucket, ts) AS bucket,
  outcome,
  count(*) AS calls
FROM calls
WHERE ts >= $from AND ts < $to AND $filters
GROUP BY 1, outcome
ORDER BY 1, outcome
