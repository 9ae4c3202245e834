-- What can be filtered by: the platforms, models, teams and environments of a time, with their calls.
-- unit: calls; times are UTC; what has no name is left out
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
SELECT
  CASE
    WHEN grouping(platform) = 0 THEN 'platform'
    WHEN grouping(model) = 0 THEN 'model'
    WHEN grouping(team) = 0 THEN 'team'
    ELSE 'environment'
  END AS filter,
  coalesce(platform, model, team, environment) AS value,
  count(*) AS calls
FROM calls
WHERE ts >= $from AND ts < $to
GROUP BY GROUPING SETS ((platform), (model), (team), (environment))
HAVING coalesce(platform, model, team, environment) IS NOT NULL
ORDER BY filter, value
LIMIT 5000
