-- Outcomes by the probability that the forecast gave to less, in ten buckets per ticker and target session: level if it is right.
SELECT
  ticker,
  date,
  CASE WHEN late IS NULL THEN 'not known' WHEN late THEN 'late' ELSE 'in time' END AS published,
  LEAST(CAST(FLOOR(pit * 10) AS INT64), 9) AS bucket,
  COUNT(*) AS outcomes
FROM `{dataset}.forecast_accuracy`
WHERE date >= DATE '1900-01-01' AND pit IS NOT NULL
GROUP BY ticker, date, published, bucket
