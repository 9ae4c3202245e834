-- Whether all calls of a service arrive: tokens of its calls against the totals that the service itself reports as metrics.
-- unit: tokens and operations; day is UTC; seen_share is tokens of calls / tokens of metrics (1 is all, less means sampled or lost spans), NULL where the metrics count nothing; tokens of calls are NULL where there are none: metered by metrics only
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
WITH metrics AS (
  SELECT date_trunc('day', hour) AS day, service, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
    sum(operations) AS operations
  FROM metric_usage
  WHERE hour >= $from AND hour < $to
  GROUP BY 1, 2
),
tellers AS (
  SELECT ts, service, input_tokens, output_tokens FROM calls WHERE ts >= $from AND ts < $to AND service IS NOT NULL
  UNION ALL
  -- A gateway reports metrics under its own name.
  SELECT ts, gateway, input_tokens, output_tokens FROM calls WHERE ts >= $from AND ts < $to AND gateway IS NOT NULL
),
seen AS (
  SELECT date_trunc('day', ts) AS day, service, count(*) AS calls, sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens
  FROM tellers
  GROUP BY 1, 2
)
SELECT
  metrics.day,
  metrics.service,
  metrics.operations AS metric_operations,
  seen.calls,
  metrics.input_tokens AS metric_input_tokens,
  seen.input_tokens,
  metrics.output_tokens AS metric_output_tokens,
  seen.output_tokens,
  CAST(seen.input_tokens + seen.output_tokens AS DOUBLE) / nullif(metrics.input_tokens + metrics.output_tokens, 0)
    AS seen_share
FROM metrics
LEFT JOIN seen ON seen.day = metrics.day AND seen.service = metrics.service
ORDER BY 1, 2
