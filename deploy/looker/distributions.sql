-- Closes of each ticker's last 250 sessions in 24 buckets of equal width: the histogram of the Forecasts page.
WITH numbered AS (
  SELECT ticker, close, ROW_NUMBER() OVER (PARTITION BY ticker ORDER BY date DESC) AS age
  FROM `{dataset}.indicators`
  WHERE date >= DATE '1900-01-01'
),
bounded AS (
  SELECT
    ticker,
    close,
    MIN(close) OVER (PARTITION BY ticker) AS lowest,
    (MAX(close) OVER (PARTITION BY ticker) - MIN(close) OVER (PARTITION BY ticker)) / 24 AS width
  FROM numbered
  WHERE age <= 250
),
placed AS (
  SELECT
    ticker,
    lowest,
    width,
    CASE WHEN width = 0 THEN 0 ELSE LEAST(CAST(FLOOR((close - lowest) / width) AS INT64), 23) END AS bucket
  FROM bounded
)
SELECT
  ticker,
  bucket,
  lowest + bucket * width AS close_from,
  lowest + (bucket + 1) * width AS close_to,
  COUNT(*) AS sessions
FROM placed
GROUP BY ticker, bucket, lowest, width
