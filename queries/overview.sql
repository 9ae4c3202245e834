-- The whole in one row: calls, tokens, money, errors, latency, and what is not priced.
-- unit: money in `currency`, NULL if currencies are mixed or nothing is priced; rates 0 to 1; p95_ms in milliseconds, of successful calls; times are UTC
-- note: unpriced_calls and partial_calls lack a price for all or some of their tokens: the cost is that of the others
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- filter platform, model, region, team, environment, feature
SELECT
  count(*) AS calls,
  count(DISTINCT platform) AS platforms,
  count(DISTINCT model) AS models,
  count(DISTINCT team) AS teams,
  sum(input_tokens) AS input_tokens,
  sum(cache_read_tokens) AS cache_read_tokens,
  sum(output_tokens) AS output_tokens,
  CASE WHEN count(DISTINCT currency) = 1 THEN min(currency) END AS currency,
  CASE WHEN count(DISTINCT currency) = 1 THEN sum(cost) END AS cost,
  CASE WHEN count(DISTINCT currency) = 1 THEN sum(list_cost) END AS list_cost,
  count(*) FILTER (
      WHERE cost_status = 'unpriced'
        AND NOT (usage_status = 'missing' AND outcome IN ('throttled', 'client_error', 'server_error'))
    ) AS unpriced_calls,
  count(*) FILTER (WHERE cost_status = 'partial') AS partial_calls,
  count(*) FILTER (WHERE team IS NULL) AS calls_without_team,
  count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown'))
    / nullif(cast(count(*) FILTER (WHERE outcome <> 'unknown') AS DOUBLE), 0) AS error_rate,
  count(*) FILTER (WHERE outcome = 'throttled')
    / nullif(cast(count(*) FILTER (WHERE outcome <> 'unknown') AS DOUBLE), 0) AS throttle_rate,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(duration_ms, provider_duration_ms)) FILTER (WHERE outcome = 'ok') AS p95_ms,
  count(*) FILTER (WHERE conflict) AS calls_in_conflict,
  max(ts) AS latest_call
FROM calls
WHERE ts >= $from AND ts < $to AND $filters
