-- How many tokens of which kind went to and came from each platform, hour by hour.
-- unit: tokens; buckets are UTC; input includes what was read from and written to a cache, output includes reasoning; NULL means that no record says, which is not 0
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- param bucket interval = interval '1 hour'
-- filter platform, model, region, team, environment, feature
SELECT
  date_bin($bucket, ts) AS bucket,
  platform,
  count(*) AS calls,
  sum(input_tokens) AS input_tokens,
  sum(cache_read_tokens) AS cache_read_tokens,
  sum(cache_write_tokens) AS cache_write_tokens,
  sum(output_tokens) AS output_tokens,
  sum(reasoning_tokens) AS reasoning_tokens,
  count(*) FILTER (WHERE usage_status = 'missing' AND outcome = 'ok') AS calls_without_usage
FROM calls
WHERE ts >= $from AND ts < $to AND $filters
GROUP BY 1, platform
ORDER BY 1, platform
