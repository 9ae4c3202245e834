-- Whether Bedrock could deliver its invocation logs: what failed is lost and in no log.
-- unit: records; hour is UTC; failed_share is failed / all (0 is well)
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
SELECT
  date_trunc('hour', ts) AS hour,
  account,
  region,
  regexp_replace(name, 'Success$|Failure$', '') AS delivery,
  TRY_CAST(sum(total) FILTER (WHERE name LIKE '%Success') AS BIGINT) AS delivered,
  TRY_CAST(sum(total) FILTER (WHERE name LIKE '%Failure') AS BIGINT) AS failed,
  coalesce(sum(total) FILTER (WHERE name LIKE '%Failure'), 0) / nullif(sum(total), 0) AS failed_share
FROM provider_metrics
WHERE ts >= $from AND ts < $to AND platform = 'aws.bedrock' AND name LIKE 'ModelInvocation%Delivery%'
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4
