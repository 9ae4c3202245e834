-- How every model does on every platform and in every region: failures, throttling, latency.
-- unit: rates are 0 to 1 of the calls whose outcome is known; milliseconds, approximate percentiles (t-digest) of successful calls, as the caller saw them, else as the provider logged them; times are UTC; NULL rate means that no outcome is known, NULL latency that nobody measured it
-- note: what callers cancelled is no error; provider_failures are server errors and timeouts
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- filter platform, model, region, team, environment, feature
SELECT
  platform,
  region,
  model,
  count(*) AS calls,
  count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown')) AS errors,
  count(*) FILTER (WHERE outcome = 'throttled') AS throttled,
  count(*) FILTER (WHERE outcome IN ('server_error', 'timeout')) AS provider_failures,
  count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown'))
    / nullif(cast(count(*) FILTER (WHERE outcome <> 'unknown') AS DOUBLE), 0) AS error_rate,
  count(*) FILTER (WHERE outcome = 'throttled')
    / nullif(cast(count(*) FILTER (WHERE outcome <> 'unknown') AS DOUBLE), 0) AS throttle_rate,
  approx_percentile_cont(0.50) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) FILTER (WHERE outcome = 'ok') AS p50_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) FILTER (WHERE outcome = 'ok') AS p95_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(ttft_ms, provider_ttft_ms)) FILTER (WHERE outcome = 'ok') AS ttft_p95_ms,
  max(ts) AS latest_call
FROM calls
WHERE ts >= $from AND ts < $to AND $filters
GROUP BY platform, region, model
ORDER BY calls DESC, platform, region, model
