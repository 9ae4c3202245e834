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
    observation_id,
    ts,
    first_value(tags) AS tags,
    first_value(gateway) AS gateway,
    first_value(platform) AS platform,
    first_value(request_model) AS request_model,
    first_value(response_model) AS response_model,
    first_value(deployment) AS deployment,
    first_value(region) AS region,
    first_value(tier) AS tier,
    first_value(operation) AS operation,
    first_value(outcome) AS outcome,
    first_value(http_status) AS http_status,
    first_value(error_code) AS error_code,
    first_value(duration_ms) AS duration_ms,
    first_value(service) AS service,
    first_value(environment) AS environment,
    first_value(team) AS team,
    first_value(feature) AS feature,
    first_value(cost_center) AS cost_center,
    first_value(principal) AS principal,
    first_value(user_id) AS user_id,
    first_value(session_id) AS session_id,
    first_value(input_tokens) AS input_tokens,
    first_value(cache_read_tokens) AS cache_read_tokens,
    first_value(cache_write_tokens) AS cache_write_tokens,
    first_value(output_tokens) AS output_tokens,
    first_value(response_id) AS response_id,
    first_value(trace_id) AS trace_id,
    first_value(span_id) AS span_id,
    first_value(source ORDER BY observed_at) AS source,
    min(observed_at) AS observed_at
  FROM observations
  WHERE witness = 'not_a_call'
  GROUP BY observation_id, ts
) AS events
