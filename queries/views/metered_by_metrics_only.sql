-- Services that report usage as metrics and send no spans and no logs: their calls are in no row of `calls`.
-- unit: tokens and operations of a service, platform and model in an hour (UTC) of a day on which `calls` has nothing of the service
SELECT metric_usage.*
FROM metric_usage
LEFT ANTI JOIN (
  SELECT DISTINCT service, date_trunc('day', ts) AS day FROM calls
  UNION
  SELECT DISTINCT gateway, date_trunc('day', ts) FROM calls
) AS called
  ON called.service = metric_usage.service AND called.day = date_trunc('day', metric_usage.hour)
