-- How long successful calls take per platform and model, over time.
-- unit: milliseconds, approximate percentiles (t-digest), as the caller saw it, or the provider where no caller says; buckets are UTC; NULL means that no witness measured it
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param bucket interval = interval '15 minutes'
-- filter platform, model, region, team, environment, feature
SELECT
  date_bin($bucket, ts) AS bucket,
  platform,
  model,
  count(*) AS calls,
  approx_percentile_cont(0.50) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) AS p50_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) AS p95_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(ttft_ms, provider_ttft_ms)) AS ttft_p95_ms
FROM calls
WHERE ts >= $from AND ts < $to AND outcome = 'ok' AND $filters
GROUP BY 1, platform, model
ORDER BY 1, platform, model
