-- What each team spent on each day, at the contract's and at the list price.
-- unit: money in `currency`, exact; days are UTC; NULL in team means that nothing names it; NULL cost means that no call of the row has a price
-- note: unpriced_calls lack a price and are in no sum; partial_calls are in the sums with a part of their tokens; failed calls without tokens count as neither
-- param from timestamp = date_trunc('day', now()) - interval '30 days'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- filter platform, model, region, team, environment, feature
WITH parts AS (
  SELECT
    day,
    team,
    currency,
    count(*) AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(list_cost) AS list_cost,
    sum(cost) AS cost,
    count(*) FILTER (
      WHERE cost_status = 'unpriced'
        AND NOT (usage_status = 'missing' AND outcome IN ('throttled', 'client_error', 'server_error'))
    ) AS unpriced_calls,
    count(*) FILTER (WHERE cost_status = 'partial') AS partial_calls
  FROM calls
  WHERE ts >= $from AND ts < $to AND $filters
  GROUP BY day, team, currency
),
-- A call without a price has no currency: it is shown beside the money of its row, never as a row of another currency.
named AS (
  SELECT *, coalesce(currency, max(currency) OVER (PARTITION BY day, team)) AS unit
  FROM parts
)
SELECT
  day,
  team,
  unit AS currency,
  sum(calls) AS calls,
  sum(input_tokens) AS input_tokens,
  sum(output_tokens) AS output_tokens,
  sum(list_cost) AS list_cost,
  sum(cost) AS cost,
  sum(unpriced_calls) AS unpriced_calls,
  sum(partial_calls) AS partial_calls
FROM named
GROUP BY day, team, unit
ORDER BY day DESC, cost DESC NULLS LAST, calls DESC, team, currency
