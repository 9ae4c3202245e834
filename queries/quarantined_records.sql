-- Which records were set aside because they can't be read or can't be true, by source and reason.
-- unit: records and bytes; times are UTC and those of the objects that hold the records; `example` is where one of them lies
-- param from timestamp = now() - interval '7 days'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
SELECT
  source,
  reason,
  count(*) AS records,
  sum(bytes) AS bytes,
  min(ts) AS first_seen,
  max(ts) AS last_seen,
  min(object || '@' || cast(position AS VARCHAR)) AS example
FROM quarantine
WHERE ts >= $from AND ts < $to
GROUP BY source, reason
ORDER BY records DESC, source, reason
