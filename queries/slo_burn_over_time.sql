-- How fast each feature burns its error budget, over time.
-- unit: burn rates: 1 uses up the budget just at the end of the objective's time; buckets are UTC; NULL means that no request has a known outcome
-- note: attempts of one request are one, in the bucket of the first: what a second attempt saved is good; what callers cancelled is no error; with a platform, model or region chosen, only attempts there count
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param bucket interval = interval '1 hour'
-- param target double = 0.99   (share of requests that should end well)
-- filter platform, model, region, team, environment, feature
WITH requests AS (
  SELECT
    coalesce(chain_id, call_id) AS request,
    first_value(team ORDER BY ts, call_id) AS team,
    first_value(feature ORDER BY ts, call_id) AS feature,
    min(ts) AS started,
    last_value(outcome ORDER BY ts, call_id) AS outcome
  FROM calls
  WHERE ts >= $from AND ts < $to AND $filters
  GROUP BY 1
)
SELECT
  date_bin($bucket, started) AS bucket,
  team,
  feature,
  count(*) AS requests,
  cast(count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown')) AS DOUBLE)
    / nullif(count(*) FILTER (WHERE outcome <> 'unknown'), 0) / nullif(1 - $target, 0) AS burn_rate
FROM requests
GROUP BY 1, team, feature
ORDER BY 1, team, feature
