-- Whether each feature keeps its objectives: requests that ended well, and fast enough, and how fast the error budget burns.
-- unit: requests (attempts of one request are one: what a second attempt saved is good); shares are 0 to 1 of the requests whose outcome is known; burn rates: 1 uses up the budget just at the end of the objective's time; times are UTC; NULL means that no request says
-- note: what callers cancelled is no error; latency is that of all attempts together, of requests that ended well and were measured; with a platform, model or region chosen, only attempts there count
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param target double = 0.99   (share of requests that should end well)
-- param latency_ms double = 10000   (what is fast enough)
-- param latency_target double = 0.95   (share of requests that should be fast enough)
-- filter platform, model, region, team, environment, feature
WITH requests AS (
  SELECT
    coalesce(chain_id, call_id) AS request,
    first_value(team ORDER BY ts, call_id) AS team,
    first_value(feature ORDER BY ts, call_id) AS feature,
    first_value(environment ORDER BY ts, call_id) AS environment,
    min(ts) AS started,
    count(*) AS attempts,
    last_value(outcome ORDER BY ts, call_id) AS outcome,
    CASE
      WHEN count(coalesce(duration_ms, provider_duration_ms)) = count(*) THEN sum(coalesce(duration_ms, provider_duration_ms))
    END AS took_ms
  FROM calls
  WHERE ts >= $from AND ts < $to AND $filters
  GROUP BY 1
),
counted AS (
  SELECT
    team,
    feature,
    environment,
    count(*) AS requests,
    count(*) FILTER (WHERE outcome <> 'unknown') AS known,
    count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown')) AS failed,
    count(*) FILTER (WHERE outcome = 'ok' AND attempts > 1) AS rescued,
    count(*) FILTER (WHERE outcome = 'ok' AND took_ms IS NOT NULL) AS timed,
    count(*) FILTER (WHERE outcome = 'ok' AND took_ms <= $latency_ms) AS fast,
    approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY took_ms) FILTER (WHERE outcome = 'ok') AS p95_ms,
    count(*) FILTER (WHERE started >= CAST($to AS TIMESTAMPTZ) - interval '1 hour' AND outcome <> 'unknown') AS known_1h,
    count(*) FILTER (WHERE started >= CAST($to AS TIMESTAMPTZ) - interval '1 hour' AND outcome NOT IN ('ok', 'cancelled', 'unknown')) AS failed_1h,
    count(*) FILTER (WHERE started >= CAST($to AS TIMESTAMPTZ) - interval '6 hours' AND outcome <> 'unknown') AS known_6h,
    count(*) FILTER (WHERE started >= CAST($to AS TIMESTAMPTZ) - interval '6 hours' AND outcome NOT IN ('ok', 'cancelled', 'unknown')) AS failed_6h
  FROM requests
  GROUP BY team, feature, environment
)
SELECT
  team,
  feature,
  environment,
  requests,
  failed,
  rescued,
  1 - cast(failed AS DOUBLE) / nullif(known, 0) AS availability,
  $target AS target,
  cast(failed AS DOUBLE) / nullif(known, 0) / nullif(1 - $target, 0) AS burn_rate,
  cast(failed_1h AS DOUBLE) / nullif(known_1h, 0) / nullif(1 - $target, 0) AS burn_rate_1h,
  cast(failed_6h AS DOUBLE) / nullif(known_6h, 0) / nullif(1 - $target, 0) AS burn_rate_6h,
  1 - cast(failed AS DOUBLE) / nullif(known, 0) / nullif(1 - $target, 0) AS budget_left,
  p95_ms,
  cast(fast AS DOUBLE) / nullif(timed, 0) AS fast_share,
  $latency_target AS latency_target,
  1 - cast(failed AS DOUBLE) / nullif(known, 0) >= $target
    AND coalesce(cast(fast AS DOUBLE) / nullif(timed, 0) >= $latency_target, TRUE) AS kept
FROM counted
ORDER BY burn_rate DESC NULLS LAST, requests DESC, team, feature, environment
