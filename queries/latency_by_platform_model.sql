-- How long successful calls take per platform and model, as the caller and as the provider saw it.
-- unit: milliseconds, approximate percentiles (t-digest); times are UTC; NULL means that no witness measured it; ttft is the time to the first token of streamed calls
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- filter platform, model, region, team, environment, feature
SELECT
  platform,
  model,
  count(*) FILTER (WHERE outcome = 'ok') AS calls,
  approx_percentile_cont(0.50) WITHIN GROUP (ORDER BY duration_ms) FILTER (WHERE outcome = 'ok') AS p50_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) FILTER (WHERE outcome = 'ok') AS p95_ms,
  approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) FILTER (WHERE outcome = 'ok') AS p99_ms,
  approx_percentile_cont(0.50) WITHIN GROUP (ORDER BY provider_duration_ms) FILTER (WHERE outcome = 'ok') AS provider_p50_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY provider_duration_ms) FILTER (WHERE outcome = 'ok') AS provider_p95_ms,
  approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY provider_duration_ms) FILTER (WHERE outcome = 'ok') AS provider_p99_ms,
  approx_percentile_cont(0.50) WITHIN GROUP (ORDER BY ttft_ms) FILTER (WHERE outcome = 'ok') AS ttft_p50_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY ttft_ms) FILTER (WHERE outcome = 'ok') AS ttft_p95_ms,
  approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY ttft_ms) FILTER (WHERE outcome = 'ok') AS ttft_p99_ms,
  approx_percentile_cont(0.50) WITHIN GROUP (ORDER BY provider_ttft_ms) FILTER (WHERE outcome = 'ok') AS provider_ttft_p50_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY provider_ttft_ms) FILTER (WHERE outcome = 'ok') AS provider_ttft_p95_ms,
  approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY provider_ttft_ms) FILTER (WHERE outcome = 'ok') AS provider_ttft_p99_ms
FROM calls
WHERE ts >= $from AND ts < $to AND $filters
GROUP BY platform, model
ORDER BY calls DESC, platform, model
