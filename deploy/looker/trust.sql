-- Sums per ticker, target session and horizon. Skill over a range: 1 - SQRT(SUM(squared_error) / SUM(squared_naive_error)).
SELECT
  ticker,
  date,
  horizon,
  COUNT(*) AS forecasts,
  SUM(CASE WHEN inside_80 THEN 1 ELSE 0 END) AS inside_80,
  SUM(POW(error / actual_close, 2)) AS squared_error,
  SUM(POW(naive_error / actual_close, 2)) AS squared_naive_error
FROM `{dataset}.forecast_accuracy`
WHERE date >= DATE '1900-01-01'
GROUP BY ticker, date, horizon
