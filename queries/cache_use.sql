-- How much of the input came out of the providers' prompt caches, by team and model.
-- unit: tokens; cache_read_share is 0 to 1 of the input of calls that report a cache; times are UTC; NULL means that no record says, which is not 0
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- filter platform, model, region, team, environment, feature
SELECT
  team,
  platform,
  model,
  count(*) AS calls,
  sum(input_tokens) AS input_tokens,
  sum(cache_read_tokens) AS cache_read_tokens,
  sum(cache_write_tokens) AS cache_write_tokens,
  cast(sum(cache_read_tokens) AS DOUBLE)
    / nullif(sum(input_tokens) FILTER (WHERE cache_read_tokens IS NOT NULL), 0) AS cache_read_share
FROM calls
WHERE ts >= $from AND ts < $to AND $filters
GROUP BY team, platform, model
ORDER BY input_tokens DESC NULLS LAST, team, platform, model
