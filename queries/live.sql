-- What each platform and model does now: calls, failures, latency, tokens and money of a short time. `polymeter top` shows it.
-- unit: counts and sums of the whole time between from and to; rates are 0 to 1 of the calls whose outcome is known; latencies in milliseconds, of successful calls; money in `currency`, NULL if nothing is priced
-- param from timestamp = now() - interval '5 minutes'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
SELECT
  platform,
  model,
  currency,
  count(*) AS calls,
  count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown'))
    / nullif(cast(count(*) FILTER (WHERE outcome <> 'unknown') AS DOUBLE), 0) AS error_rate,
  count(*) FILTER (WHERE outcome = 'throttled')
    / nullif(cast(count(*) FILTER (WHERE outcome <> 'unknown') AS DOUBLE), 0) AS throttle_rate,
  approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) FILTER (WHERE outcome = 'ok') AS p50_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) FILTER (WHERE outcome = 'ok') AS p95_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(ttft_ms, provider_ttft_ms)) FILTER (WHERE outcome = 'ok') AS ttft_p95_ms,
  sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) FILTER (WHERE input_tokens IS NOT NULL OR output_tokens IS NOT NULL) AS tokens,
  sum(cost) AS cost
FROM calls
WHERE ts >= $from AND ts < $to
GROUP BY platform, model, currency
ORDER BY calls DESC, platform, model, currency
