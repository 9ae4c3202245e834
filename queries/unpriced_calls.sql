-- Which calls have no complete price and why: what the price book or the catalog still lacks.
-- unit: calls and tokens; times are UTC; NULL tokens mean that no record says; `reason` is what has to be mended
-- param from timestamp = now() - interval '7 days'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- filter platform, model, region, team, environment, feature
SELECT
  platform,
  coalesce(response_model, request_model, deployment) AS model_as_written,
  model,
  scope,
  tier,
  CASE
    WHEN cost_status = 'partial' THEN 'some buckets have no rate'
    WHEN usage_status = 'missing' THEN 'no usage was reported'
    WHEN model IS NULL THEN 'unknown model'
    WHEN platform IS NULL THEN 'unknown platform'
    ELSE 'no rate for this model, platform, scope, tier and time'
  END AS reason,
  count(*) AS calls,
  sum(input_tokens) AS input_tokens,
  sum(cache_read_tokens) AS cache_read_tokens,
  sum(cache_write_tokens) AS cache_write_tokens,
  sum(output_tokens) AS output_tokens,
  min(ts) AS first_seen,
  max(ts) AS last_seen
FROM calls
WHERE ts >= $from AND ts < $to AND $filters
  AND cost_status IN ('unpriced', 'partial')
  AND NOT (usage_status = 'missing' AND outcome IN ('throttled', 'client_error', 'server_error'))
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY input_tokens DESC NULLS LAST, calls DESC, 1, 2, 3, 4, 5, 6
