-- Which share of the latest calls to each platform, model and region failed: what an alert looks at.
-- unit: rates are 0 to 1 of the calls whose outcome is known; what callers cancelled is no error; times are UTC
-- param from timestamp = now() - interval '15 minutes'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param least bigint = 10   (only with so many calls whose outcome is known)
-- filter platform, model, region
SELECT
  platform,
  model,
  region,
  count(*) AS calls,
  count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown')) AS errors,
  count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled', 'unknown'))
    / cast(count(*) FILTER (WHERE outcome <> 'unknown') AS DOUBLE) AS error_rate
FROM calls
WHERE ts >= $from AND ts < $to AND $filters
GROUP BY platform, model, region
HAVING count(*) FILTER (WHERE outcome <> 'unknown') >= greatest($least, 1)
ORDER BY error_rate DESC, platform, model, region
