-- What a gateway answered or refused by itself: no provider was called, so these are no rows of `calls`.
-- unit: one row for each event; ts is UTC; kind is `cache_hit`, `rejected` or `mock`; saved_* say what the provider would have counted and billed at list price (USD) if the answer of a cache hit had been made anew, NULL for other kinds and where it is not known
SELECT
  observation_id AS event_id,
  ts,
  coalesce(tags['gateway_event'], 'rejected') AS kind,
  gateway,
  platform,
  model_name(platform, request_model, response_model, deployment) AS model,
  request_model,
  response_model,
  operation,
  outcome,
  http_status,
  error_code,
  duration_ms,
  service,
  environment,
  team,
  feature,
  cost_center,
  principal,
  user_id,
  session_id,
  CASE WHEN tags['gateway_event'] = 'cache_hit' THEN input_tokens END AS saved_input_tokens,
  CASE WHEN tags['gateway_event'] = 'cache_hit' THEN output_tokens END AS saved_output_tokens,
  CASE WHEN tags['gateway_event'] = 'cache_hit' THEN
    list_cost(
      platform, request_model, response_model, deployment, region, tier, operation, ts,
      input_tokens, cache_read_tokens, cache_write_tokens, output_tokens
    )
  END AS saved_cost,
  response_id,
  trace_id,
  span_id,
  source,
  observed_at
FROM (
  -- The same record may have been delivered twice; its time is a key, so that a range of time is read alone.
  SELECT
    *,
    row_number() OVER (PARTITION BY observation_id, ts ORDER BY observed_at, source) AS copy
  FROM observations
  WHERE witness = 'not_a_call'
) AS events
WHERE copy = 1
