-- Who or what costs most: calls, tokens, money and failures by platform, model, team or another column.
-- unit: money in `currency`, exact; times are UTC; error_rate is 0 to 1 of the calls whose outcome is known; NULL in name means that nothing names it; NULL cost means that no call of the row has a price
-- note: unpriced_calls lack a price and are in no sum; partial_calls are in the sums with a part of their tokens; the first 1,000 rows
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param by text = 'platform'   (platform, publisher, model, team, feature, service, environment, cost_center, region or principal)
-- filter platform, model, region, team, environment, feature
WITH parts AS (
  SELECT
    CASE $by
      WHEN 'platform' THEN platform
      WHEN 'publisher' THEN publisher
      WHEN 'model' THEN model
      WHEN 'team' THEN team
      WHEN 'feature' THEN feature
      WHEN 'service' THEN service
      WHEN 'environment' THEN environment
      WHEN 'cost_center' THEN cost_center
      WHEN 'region' THEN region
      WHEN 'principal' THEN principal
    END AS name,
    currency,
    count(*) AS calls,
    count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown')) AS errors,
    count(*) FILTER (WHERE outcome <> 'unknown') AS known,
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
  GROUP BY 1, currency
),
-- A call without a price has no currency: it is shown beside the money of its row, never as a row of another currency.
named AS (
  SELECT *, coalesce(currency, max(currency) OVER (PARTITION BY name)) AS unit
  FROM parts
)
SELECT
  name,
  unit AS currency,
  sum(calls) AS calls,
  sum(errors) AS errors,
  sum(errors) / nullif(cast(sum(known) AS DOUBLE), 0) AS error_rate,
  sum(input_tokens) AS input_tokens,
  sum(output_tokens) AS output_tokens,
  sum(list_cost) AS list_cost,
  sum(cost) AS cost,
  sum(unpriced_calls) AS unpriced_calls,
  sum(partial_calls) AS partial_calls
FROM named
GROUP BY name, unit
ORDER BY cost DESC NULLS LAST, calls DESC, name, currency
LIMIT 1000
