-- Whether everything that the providers counted was metered: calls and tokens against their own counters, the worst hours first.
-- unit: calls and tokens; hour is UTC; shares are metered / provider (1 is all; 0: nothing of what the provider counted was logged; NULL: the provider counted nothing); only hours that a counter was read for
-- note: sorted by shares and size, never by a column that can be filtered: the planner fails where a filter makes that one value
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param below double = 2   (only hours with a share of calls or tokens below it)
-- filter platform, model, region
SELECT *
FROM coverage
WHERE hour >= $from AND hour < $to AND $filters
  AND coalesce(provider_calls, provider_input_tokens, provider_output_tokens) IS NOT NULL
  AND (coalesce(calls_share, 1) < $below OR coalesce(tokens_share, 1) < $below)
ORDER BY least(coalesce(calls_share, 1), coalesce(tokens_share, 1)), hour DESC, provider_calls DESC, metered_calls DESC, account,
  concat_ws(' ', platform, region, model)
LIMIT 1000
