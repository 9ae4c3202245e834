-- Whether everything that the providers counted was metered, in one row for each model: what an alert looks at.
-- unit: calls and tokens; shares are metered / provider, weighted by what the provider counted (1 is all; NULL: it counted nothing); whole hours (UTC), up to two hours ago by default because counters and logs come late
-- note: sorted by shares and size, never by what can be filtered: the planner fails where a filter makes that one value
-- param from timestamp = date_trunc('hour', now()) - interval '26 hours'   (start, inclusive)
-- param to timestamp = date_trunc('hour', now()) - interval '2 hours'   (end, exclusive)
-- filter platform, model, region
SELECT
  platform,
  account,
  region,
  model,
  all_models,
  sum(metered_calls) AS metered_calls,
  sum(provider_calls) AS provider_calls,
  sum(calls_share * provider_calls) / nullif(sum(provider_calls), 0) AS calls_share,
  sum(tokens_share * (coalesce(provider_input_tokens, 0) + coalesce(provider_output_tokens, 0)))
    / nullif(sum(coalesce(provider_input_tokens, 0) + coalesce(provider_output_tokens, 0)), 0) AS tokens_share,
  min(hour) AS first_hour,
  max(hour) AS last_hour
FROM coverage
WHERE hour >= $from AND hour < $to AND $filters
  AND coalesce(provider_calls, provider_input_tokens, provider_output_tokens) IS NOT NULL
GROUP BY platform, account, region, model, all_models
ORDER BY calls_share, tokens_share, provider_calls DESC, metered_calls DESC, account, concat_ws(' ', platform, region, model)
