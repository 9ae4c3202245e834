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
    coalesce(interval_s, 0) > 0 AS has_start,
    to_timestamp_micros(CAST(ts AS BIGINT) + 1000000 * coalesce(interval_s, 0)) AS at,
    total,
    count
  FROM provider_metrics
  WHERE name IN ('gen_ai.client.token.usage', 'gen_ai.client.operation.duration')
),
steps AS (
  SELECT
    *,
    lag(total) OVER (PARTITION BY series, name ORDER BY at, total) AS total_before,
    lag(count) OVER (PARTITION BY series, name ORDER BY at, total) AS count_before,
    -- Exporters that send no start, or one that wanders, begin anew where the total falls.
    -- A point within the second of its start, or of the point before, has the start of its series all the same.
    has_start AND started >= lag(at) OVER (PARTITION BY series, name ORDER BY at, total)
      AND started > lag(started) OVER (PARTITION BY series, name ORDER BY at, total) AS begins
  FROM points
  WHERE total IS NOT NULL AND temporality IN ('cumulative', 'delta')
),
growth AS (
  SELECT
    *,
    CASE WHEN temporality = 'delta' OR total_before IS NULL OR begins OR total < total_before
      THEN total ELSE total - total_before END AS more,
    CASE WHEN temporality = 'delta' OR count_before IS NULL OR begins OR count < count_before
      THEN count ELSE count - count_before END AS more_samples
  FROM steps
)
SELECT
  date_trunc('hour', at) AS hour,
  service,
  platform,
  model,
  TRY_CAST(sum(more) FILTER (WHERE name = 'gen_ai.client.token.usage' AND token_type = 'input') AS BIGINT) AS input_tokens,
  TRY_CAST(
    sum(more) FILTER (WHERE name = 'gen_ai.client.token.usage' AND token_type IN ('output', 'completion')) AS BIGINT
  ) AS output_tokens,
  TRY_CAST(sum(more_samples) FILTER (WHERE name = 'gen_ai.client.operation.duration') AS BIGINT) AS operations
FROM growth
GROUP BY 1, 2, 3, 4
