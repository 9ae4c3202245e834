-- When calls failed in bursts: since when, where, whether it was them or us, and whether other attempts saved the requests.
-- unit: calls; times are UTC; rates are 0 to 1 of the calls whose outcome is known, NULL if there is none; `elsewhere` is the same model at other places, `here` the other models at the same place, `platforms` all other platforms, each in the same time
-- note: verdict `us`: most failures are refused requests, or other platforms fail as well; `quota`: throttled, and only this model; `them`: what else was called then was well; `unclear`: nothing else was called
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param step interval = interval '5 minutes'   (calls are counted by)
-- param bar double = 0.2   (share of failed calls from which on it is a burst)
-- param least bigint = 5   (failed calls of a burst, at least, in steps that fail)
-- filter platform, model, region
WITH chains AS (
  SELECT chain_id, last_value(outcome ORDER BY ts, call_id) AS last_outcome
  FROM calls
  WHERE ts >= $from AND ts < $to AND chain_id IS NOT NULL
  GROUP BY chain_id
  HAVING count(*) > 1
),
told AS (
  SELECT
    date_bin(CAST($step AS INTERVAL), ts) AS bucket,
    coalesce(platform, '') AS platform,
    coalesce(region, '') AS region,
    coalesce(model, '') AS model,
    count(*) AS calls,
    count(*) FILTER (WHERE outcome <> 'unknown') AS known,
    count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown')) AS errors,
    count(*) FILTER (WHERE outcome = 'throttled') AS throttled,
    count(*) FILTER (WHERE outcome IN ('server_error', 'timeout')) AS provider_failures,
    count(*) FILTER (WHERE outcome IN ('client_error', 'content_filtered')) AS refused,
    count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown') AND last_outcome = 'ok') AS rescued
  FROM calls
  LEFT JOIN chains ON chains.chain_id = calls.chain_id
  WHERE ts >= $from AND ts < $to
  GROUP BY 1, 2, 3, 4
),
-- Steps that fail, and those up to two steps behind one, are one burst.
failing AS (
  SELECT
    bucket, platform, region, model, errors,
    CASE
      WHEN bucket <= lag(bucket) OVER (PARTITION BY platform, region, model ORDER BY bucket) + CAST($step AS INTERVAL) + CAST($step AS INTERVAL) + CAST($step AS INTERVAL) THEN 0
      ELSE 1
    END AS begins
  FROM told
  WHERE errors > 0 AND errors >= $bar * known
),
numbered AS (
  SELECT
    bucket, platform, region, model, errors,
    sum(begins) OVER (PARTITION BY platform, region, model ORDER BY bucket) AS burst
  FROM failing
),
bursts AS (
  SELECT platform, region, model, min(bucket) AS started, max(bucket) + CAST($step AS INTERVAL) AS ended
  FROM numbered
  GROUP BY platform, region, model, burst
  HAVING sum(errors) >= $least
),
-- Everything that was called in the time of a burst: its own calls, and the controls.
beside AS (
  SELECT
    bursts.platform, bursts.region, bursts.model, started, ended,
    told.model = bursts.model AS same_model,
    told.platform = bursts.platform AS same_platform,
    told.platform = bursts.platform AND told.region = bursts.region AS same_place,
    calls, known, errors, throttled, provider_failures, refused, rescued
  FROM bursts
  JOIN told ON told.bucket >= started AND told.bucket < ended
),
measured AS (
  SELECT
    platform, region, model, started, ended,
    sum(calls) FILTER (WHERE same_place AND same_model) AS calls,
    sum(known) FILTER (WHERE same_place AND same_model) AS known,
    sum(errors) FILTER (WHERE same_place AND same_model) AS errors,
    sum(throttled) FILTER (WHERE same_place AND same_model) AS throttled,
    sum(provider_failures) FILTER (WHERE same_place AND same_model) AS provider_failures,
    sum(refused) FILTER (WHERE same_place AND same_model) AS refused,
    sum(rescued) FILTER (WHERE same_place AND same_model) AS rescued,
    coalesce(sum(known) FILTER (WHERE same_model AND NOT same_place), 0) AS elsewhere_calls,
    sum(errors) FILTER (WHERE same_model AND NOT same_place) AS elsewhere_errors,
    coalesce(sum(known) FILTER (WHERE same_place AND NOT same_model), 0) AS here_calls,
    sum(errors) FILTER (WHERE same_place AND NOT same_model) AS here_errors,
    coalesce(sum(known) FILTER (WHERE NOT same_platform), 0) AS platforms_calls,
    sum(errors) FILTER (WHERE NOT same_platform) AS platforms_errors
  FROM beside
  GROUP BY platform, region, model, started, ended
),
rated AS (
  SELECT
    *,
    cast(errors AS DOUBLE) / known AS error_rate,
    cast(elsewhere_errors AS DOUBLE) / nullif(elsewhere_calls, 0) AS elsewhere_error_rate,
    cast(here_errors AS DOUBLE) / nullif(here_calls, 0) AS here_error_rate,
    cast(platforms_errors AS DOUBLE) / nullif(platforms_calls, 0) AS platforms_error_rate
  FROM measured
  WHERE errors >= $bar * known
),
judged AS (
  SELECT
    started,
    ended,
    ended + CAST($step AS INTERVAL) >= $to AS goes_on,
    nullif(platform, '') AS platform,
    nullif(model, '') AS model,
    nullif(region, '') AS region,
    CASE
      WHEN refused * 2 > errors OR platforms_error_rate >= $bar / 2 THEN 'us'
      WHEN throttled * 2 > errors AND here_error_rate < $bar / 2 THEN 'quota'
      WHEN elsewhere_calls + here_calls + platforms_calls = 0 THEN 'unclear'
      ELSE 'them'
    END AS verdict,
    calls,
    errors,
    error_rate,
    throttled,
    provider_failures,
    refused,
    elsewhere_calls,
    elsewhere_error_rate,
    here_calls,
    here_error_rate,
    platforms_calls,
    platforms_error_rate,
    rescued,
    errors - rescued AS not_rescued
  FROM rated
)
SELECT
  *,
  concat(
    verdict, ': ', platform, ' ', coalesce(region, ''), ' ', coalesce(model, ''), ', ', errors, ' of ', calls, ' calls failed, ',
    rescued, ' rescued by another attempt'
  ) AS what
FROM judged
WHERE $filters
ORDER BY started DESC, errors DESC, platform, model, region
