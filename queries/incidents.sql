-- When calls failed in bursts: since when, where, whether it was them or us, and whether other attempts saved the requests.
-- unit: calls; times are UTC; rates are 0 to 1 of the calls whose outcome is known, NULL if there is none; `elsewhere` is the same model at other places, `here` the other models at the same place, `platforms` all other platforms, each in the same time
-- note: verdict `us`: most failures are refused requests, or other platforms fail as well; `quota`: throttled, and only this model; `them`: what else was called then was well; `unclear`: nothing else was called
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param bucket interval = interval '5 minutes'
-- param bar double = 0.2   (share of failed calls from which on it is a burst)
-- param least bigint = 5   (failed calls of a burst, at least)
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
    date_bin($bucket, ts) AS bucket,
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
-- Buckets that fail, and those up to two buckets behind one, are one burst.
failing AS (
  SELECT
    bucket, platform, region, model,
    CASE
      WHEN bucket <= lag(bucket) OVER (PARTITION BY platform, region, model ORDER BY bucket) + $bucket + $bucket + $bucket THEN 0
      ELSE 1
    END AS begins
  FROM told
  WHERE errors > 0 AND errors >= $bar * known
),
numbered AS (
  SELECT
    bucket, platform, region, model,
    sum(begins) OVER (PARTITION BY platform, region, model ORDER BY bucket) AS burst
  FROM failing
),
bursts AS (
  SELECT platform, region, model, min(bucket) AS started, max(bucket) + $bucket AS ended
  FROM numbered
  GROUP BY platform, region, model, burst
),
measured AS (
  SELECT
    bursts.platform, bursts.region, bursts.model, started, ended,
    sum(told.calls) AS calls,
    sum(known) AS known,
    sum(errors) AS errors,
    sum(throttled) AS throttled,
    sum(provider_failures) AS provider_failures,
    sum(refused) AS refused,
    sum(rescued) AS rescued
  FROM bursts
  JOIN told
    ON told.platform = bursts.platform AND told.region = bursts.region AND told.model = bursts.model
    AND told.bucket >= started AND told.bucket < ended
  GROUP BY 1, 2, 3, 4, 5
  HAVING sum(errors) >= $least AND sum(errors) >= $bar * sum(known)
),
controls AS (
  SELECT
    measured.platform, measured.region, measured.model, started,
    sum(told.known) FILTER (
      WHERE told.model = measured.model AND (told.platform <> measured.platform OR told.region <> measured.region)
    ) AS elsewhere_known,
    sum(told.errors) FILTER (
      WHERE told.model = measured.model AND (told.platform <> measured.platform OR told.region <> measured.region)
    ) AS elsewhere_errors,
    sum(told.known) FILTER (
      WHERE told.model <> measured.model AND told.platform = measured.platform AND told.region = measured.region
    ) AS here_known,
    sum(told.errors) FILTER (
      WHERE told.model <> measured.model AND told.platform = measured.platform AND told.region = measured.region
    ) AS here_errors,
    sum(told.known) FILTER (WHERE told.platform <> measured.platform) AS platforms_known,
    sum(told.errors) FILTER (WHERE told.platform <> measured.platform) AS platforms_errors
  FROM measured
  JOIN told ON told.bucket >= started AND told.bucket < ended
  GROUP BY 1, 2, 3, 4
),
rated AS (
  SELECT
    measured.*,
    cast(measured.errors AS DOUBLE) / measured.known AS error_rate,
    coalesce(elsewhere_known, 0) AS elsewhere_calls,
    cast(elsewhere_errors AS DOUBLE) / nullif(elsewhere_known, 0) AS elsewhere_error_rate,
    coalesce(here_known, 0) AS here_calls,
    cast(here_errors AS DOUBLE) / nullif(here_known, 0) AS here_error_rate,
    coalesce(platforms_known, 0) AS platforms_calls,
    cast(platforms_errors AS DOUBLE) / nullif(platforms_known, 0) AS platforms_error_rate
  FROM measured
  JOIN controls
    ON controls.platform = measured.platform AND controls.region = measured.region AND controls.model = measured.model
    AND controls.started = measured.started
),
judged AS (
  SELECT
    started,
    ended,
    ended + $bucket >= $to AS goes_on,
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
