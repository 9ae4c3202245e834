-- What gateways answered from their caches and what they refused, by team and model.
-- unit: events; saved_cost is USD at list price, NULL where nothing of it has a price; times are UTC
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- filter model, team, environment, feature
SELECT
  kind,
  gateway,
  team,
  model,
  count(*) AS events,
  sum(saved_input_tokens) AS saved_input_tokens,
  sum(saved_output_tokens) AS saved_output_tokens,
  sum(saved_cost) AS saved_cost
FROM gateway_events
WHERE ts >= $from AND ts < $to AND $filters
GROUP BY 1, 2, 3, 4
ORDER BY events DESC, kind, team, model
