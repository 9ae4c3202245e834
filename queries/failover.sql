-- How often a second attempt had to step in after a failed first one, who stepped in, and whether that saved the request.
-- unit: chains (requests with more than one attempt, the first of them failed); buckets are UTC; extra_cost is money that the attempts after the first cost, NULL if none has a price or currencies are mixed
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param bucket interval = interval '1 hour'
-- filter team, environment, feature
WITH chains AS (
  SELECT
    chain_id,
    min(ts) AS started,
    count(*) AS attempts,
    first_value(platform ORDER BY ts, call_id) AS first_platform,
    first_value(region ORDER BY ts, call_id) AS first_region,
    first_value(outcome ORDER BY ts, call_id) AS first_outcome,
    last_value(platform ORDER BY ts, call_id) AS last_platform,
    last_value(outcome ORDER BY ts, call_id) AS last_outcome,
    sum(cost) AS cost,
    first_value(cost ORDER BY ts, call_id) AS first_cost,
    min(currency) AS currency,
    max(currency) AS other_currency
  FROM calls
  WHERE ts >= $from AND ts < $to AND $filters AND chain_id IS NOT NULL
    -- Most requests have one attempt: the first and last of those need not be kept.
    AND chain_id IN (
      SELECT chain_id FROM calls WHERE ts >= $from AND ts < $to AND chain_id IS NOT NULL GROUP BY chain_id HAVING count(*) > 1
    )
  GROUP BY chain_id
  HAVING count(*) > 1
)
SELECT
  date_bin($bucket, started) AS bucket,
  first_platform,
  first_region,
  last_platform AS rescuing_platform,
  count(*) AS chains,
  sum(attempts) AS attempts,
  count(*) FILTER (WHERE last_outcome = 'ok') AS saved,
  count(*) FILTER (WHERE last_outcome <> 'ok') AS not_saved,
  count(*) FILTER (WHERE first_outcome = 'throttled') AS first_throttled,
  count(*) FILTER (WHERE first_outcome IN ('server_error', 'timeout')) AS first_failed,
  CASE
    WHEN min(currency) = max(other_currency)
      THEN sum(CASE WHEN first_cost IS NULL THEN cost ELSE cost - first_cost END)
  END AS extra_cost,
  CASE WHEN min(currency) = max(other_currency) THEN min(currency) END AS currency
FROM chains
WHERE first_outcome <> 'ok'
GROUP BY 1, first_platform, first_region, last_platform
ORDER BY 1, chains DESC, first_platform, first_region, rescuing_platform
