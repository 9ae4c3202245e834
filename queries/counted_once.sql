-- By which witnesses calls were seen: every call is one row however many sources tell about it.
-- unit: calls; times are UTC; `seen_by` lists the sources; conflicts are calls whose witnesses disagree on tokens or status
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- filter platform, model, region, team, environment, feature
SELECT
  platform,
  array_to_string(array_sort(witnesses), ' + ') AS seen_by,
  count(*) AS calls,
  count(*) FILTER (WHERE conflict) AS conflicts,
  sum(input_tokens) AS input_tokens,
  sum(output_tokens) AS output_tokens
FROM calls
WHERE ts >= $from AND ts < $to AND $filters
GROUP BY 1, 2
ORDER BY calls DESC, platform
