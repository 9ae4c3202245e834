-- How every model does on every platform and in every region: failures, throttling, latency.
-- unit: rates are 0 to 1 of the calls whose outcome is known; milliseconds, approximate percentiles (t-digest) of successful calls, as the caller saw them, else as the provider logged them; times are UTC; NULL rate means that no outcome is known, NULL latency that nobody measured it
-- note: what callers cancelled is no error; provider_failures are server errors and timeouts
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param platform text = NULL   (only this platform)
-- param model text = NULL   (only this model)
-- param team text = NULL   (only this team)
-- param environment text = NULL   (only this environment)
-- param region text = NULL   (only this region)
-- param feature text = NULL   (only this feature)
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
WHERE ts >= $from AND ts < $to
  AND ($platform IS NULL OR platform = $platform)
  AND ($model IS NULL OR model = $model)
  AND ($team IS NULL OR team = $team)
  AND ($environment IS NULL OR environment = $environment)
  AND ($region IS NULL OR region = $region)
  AND ($feature IS NULL OR feature = $feature)
GROUP BY platform, region, model
ORDER BY calls DESC, platform, region, model
