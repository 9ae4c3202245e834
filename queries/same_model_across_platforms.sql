-- How the same model compares between the platforms that serve it: use, effective price, latency, errors.
-- unit: price_per_mtok is money in `currency` per million tokens (input and output together) of the calls that have a price, a rounded ratio; milliseconds; rates 0 to 1; times are UTC; NULL price means that no call is priced or that currencies are mixed
-- note: only models with a known canonical name; unpriced_calls are in no price
-- param from timestamp = now() - interval '7 days'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- filter platform, model, region, team, environment, feature
SELECT
  model,
  platform,
  count(*) AS calls,
  sum(input_tokens) AS input_tokens,
  sum(output_tokens) AS output_tokens,
  CASE WHEN count(DISTINCT currency) = 1 THEN min(currency) END AS currency,
  CASE WHEN count(DISTINCT currency) = 1 THEN sum(cost) END AS cost,
  CASE
    WHEN count(DISTINCT currency) = 1
      THEN cast(sum(cost) FILTER (WHERE cost_status = 'priced') AS DOUBLE) * 1000000.0
        / nullif(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) FILTER (WHERE cost_status = 'priced'), 0)
  END AS price_per_mtok,
  count(*) FILTER (
      WHERE cost_status = 'unpriced'
        AND NOT (usage_status = 'missing' AND outcome IN ('throttled', 'client_error', 'server_error'))
    ) AS unpriced_calls,
  count(*) FILTER (WHERE cost_status = 'partial') AS partial_calls,
  approx_percentile_cont(0.50) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) FILTER (WHERE outcome = 'ok') AS p50_ms,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) FILTER (WHERE outcome = 'ok') AS p95_ms,
  approx_percentile_cont(0.50) WITHIN GROUP (ORDER BY coalesce(ttft_ms, provider_ttft_ms)) FILTER (WHERE outcome = 'ok') AS ttft_p50_ms,
  count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown'))
    / nullif(cast(count(*) FILTER (WHERE outcome <> 'unknown') AS DOUBLE), 0) AS error_rate
FROM calls
WHERE ts >= $from AND ts < $to AND $filters AND model IS NOT NULL
GROUP BY model, platform
ORDER BY model, calls DESC, platform
