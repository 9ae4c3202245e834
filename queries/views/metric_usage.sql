-- Tokens and operations that services report as OpenTelemetry metrics, by hour: control totals beside `calls`, never added to them.
-- unit: tokens and operations; hour is UTC, by the end of the reporting interval; a cumulative series counts with its growth since its point before, with all of it at its first; NULL where a service does not report that metric
WITH points AS (
  SELECT
    dimensions['series'] AS series,
    dimensions['service.name'] AS service,
    dimensions['gen_ai.token.type'] AS token_type,
    dimensions['temporality'] AS temporality,
    name,
    platform,
    coalesce(model, dimensions['gen_ai.request.model']) AS model,
    ts AS started,
    to_timestamp_micros(CAST(ts AS BIGINT) + 1000000 * coalesce(interval_s, 0)) AS at,
    total,
    count
  FROM provider_metrics
  WHERE name IN ('gen_ai.client.token.usage', 'gen_ai.client.operation.duration')
),
growth AS (
  SELECT
    *,
    CASE WHEN temporality = 'cumulative'
      THEN total - coalesce(lag(total) OVER (PARTITION BY series, name, started ORDER BY at), 0)
      ELSE total
    END AS more,
    CASE WHEN temporality = 'cumulative'
      THEN count - coalesce(lag(count) OVER (PARTITION BY series, name, started ORDER BY at), 0)
      ELSE count
    END AS more_samples
  FROM points
)
SELECT
  date_trunc('hour', at) AS hour,
  service,
  platform,
  model,
  CAST(sum(more) FILTER (WHERE name = 'gen_ai.client.token.usage' AND token_type = 'input') AS BIGINT) AS input_tokens,
  CAST(
    sum(more) FILTER (WHERE name = 'gen_ai.client.token.usage' AND token_type IN ('output', 'completion')) AS BIGINT
  ) AS output_tokens,
  CAST(sum(more_samples) FILTER (WHERE name = 'gen_ai.client.operation.duration') AS BIGINT) AS operations
FROM growth
GROUP BY 1, 2, 3, 4
