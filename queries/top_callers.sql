-- Who calls most: principals (IAM ARN, Entra object id, key alias) with their team, by cost.
-- unit: money in `currency`, exact; times are UTC; NULL principal or team means that no record and no rule names one; NULL cost means that no call of the row has a price
-- note: unpriced_calls are in no sum
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- filter platform, model, region, team, environment, feature
WITH parts AS (
  SELECT
    principal,
    team,
    currency,
    count(*) AS calls,
    count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown')) AS errors,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cost) AS cost,
    count(*) FILTER (
      WHERE cost_status = 'unpriced'
        AND NOT (usage_status = 'missing' AND outcome IN ('throttled', 'client_error', 'server_error'))
    ) AS unpriced_calls,
    max(ts) AS last_seen
  FROM calls
  WHERE ts >= $from AND ts < $to AND $filters
  GROUP BY principal, team, currency
),
named AS (
  SELECT *, coalesce(currency, max(currency) OVER (PARTITION BY principal, team)) AS unit
  FROM parts
)
SELECT
  principal,
  team,
  unit AS currency,
  sum(calls) AS calls,
  sum(errors) AS errors,
  sum(input_tokens) AS input_tokens,
  sum(output_tokens) AS output_tokens,
  sum(cost) AS cost,
  sum(unpriced_calls) AS unpriced_calls,
  max(last_seen) AS last_seen
FROM named
GROUP BY principal, team, unit
ORDER BY cost DESC NULLS LAST, calls DESC, principal, team, currency
LIMIT 100
