-- What each source told: records, when it was last read, and how long after the call.
-- unit: records and seconds; times are UTC; delay is from the start of a call to when its record was read, approximate percentiles (t-digest), so it holds the call itself; a record that was delivered twice counts twice
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
SELECT
  source,
  count(*) AS records,
  max(ts) AS newest_call,
  max(observed_at) AS last_read,
  approx_percentile_cont(0.50) WITHIN GROUP (ORDER BY date_part('epoch', observed_at - ts)) AS delay_p50_s,
  approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY date_part('epoch', observed_at - ts)) AS delay_p95_s
FROM observations
WHERE ts >= $from AND ts < $to
GROUP BY source
ORDER BY source
