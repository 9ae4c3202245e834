-- How long successful calls take over time, to the last and to the first token.
-- unit: milliseconds, approximate percentiles (t-digest), as the caller saw them, else as the provider logged them; buckets are UTC; NULL means that nobody measured it
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param bucket interval = interval '1 hour'
-- filter platform, model, region, team, environment, feature
SELECT
  date_bin($bucket, ts) AS bucket,
  count(*) FILTER (WHERE outcome = 'ok') AS calls,
  approx_percentile_cont(0.50) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) FILTER (WHERE outcome = 'ok') AS p50_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) FILTER (WHERE outcome = 'ok') AS p95_ms,
  approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) FILTER (WHERE outcome = 'ok') AS p99_ms,
  approx_percentile_cont(0.50) WITHIN GROUP (ORDER BY coalesce(ttft_ms, provider_ttft_ms)) FILTER (WHERE outcome = 'ok') AS ttft_p50_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(ttft_ms, provider_ttft_ms)) FILTER (WHERE outcome = 'ok') AS ttft_p95_ms,
  approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY coalesce(ttft_ms, provider_ttft_ms)) FILTER (WHERE outcome = 'ok') AS ttft_p99_ms
FROM calls
WHERE ts >= $from AND ts < $to AND $filters
GROUP BY 1
ORDER BY 1
