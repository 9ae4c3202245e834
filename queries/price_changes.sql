-- When other prices begin to hold: the dates of the price book.
-- unit: times are UTC; `what` names the platform, the model and what is counted; a price that holds since ever has no date and is not here
-- param from timestamp = now() - interval '24 hours'   (start, inclusive)
-- param to timestamp = now()   (end, exclusive)
-- filter platform, model
SELECT
  valid_from,
  platform,
  model,
  layer,
  count(*) AS rates,
  concat('Price: ', platform, ' ', model, ' (', array_to_string(array_sort(array_agg(DISTINCT bucket)), ', '), '), ', layer) AS what
FROM prices
WHERE valid_from >= $from AND valid_from < $to AND $filters
GROUP BY valid_from, platform, model, layer
ORDER BY valid_from, platform, model, layer
