-- What there is to choose from: the values of one column of the calls in a time.
-- unit: text; NULL is no choice
-- param from timestamp = now() - interval '7 days'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param column text = 'platform'   (platform, model, region, team, environment or feature)
SELECT DISTINCT
  CASE $column
    WHEN 'platform' THEN platform
    WHEN 'model' THEN model
    WHEN 'region' THEN region
    WHEN 'team' THEN team
    WHEN 'environment' THEN environment
    WHEN 'feature' THEN feature
  END AS value
FROM calls
WHERE ts >= $from AND ts < $to
  AND CASE $column
    WHEN 'platform' THEN platform
    WHEN 'model' THEN model
    WHEN 'region' THEN region
    WHEN 'team' THEN team
    WHEN 'environment' THEN environment
    WHEN 'feature' THEN feature
  END IS NOT NULL
ORDER BY value
