-- Which share of the calls to each platform and region failed or was throttled, in buckets of five minutes.
-- unit: rates are 0 to 1 of the calls whose outcome is known; buckets are UTC; NULL rate means that no outcome is known; what callers cancelled is no error
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param bucket interval = interval '5 minutes'
-- filter platform, model, region, team, environment, feature
SELECT
  date_bin($bucket, ts) AS bucket,
  platform,
  region,
  count(*) AS calls,
  count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown')) AS errors,
  count(*) FILTER (WHERE outcome = 'throttled') AS throttled,
  count(*) FILTER (WHERE outcome IN ('server_error', 'timeout')) AS provider_failures,
  count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown'))
    / nullif(cast(count(*) FILTER (WHERE outcome <> 'unknown') AS DOUBLE), 0) AS error_rate,
  count(*) FILTER (WHERE outcome = 'throttled')
    / nullif(cast(count(*) FILTER (WHERE outcome <> 'unknown') AS DOUBLE), 0) AS throttle_rate
FROM calls
WHERE ts >= $from AND ts < $to AND $filters
GROUP BY 1, platform, region
ORDER BY 1, platform, region
