-- Every forecast with what became of it: null until its target session has closed. Errors as forecast_accuracy scores them.
SELECT
  forecasts.ticker,
  forecasts.date,
  forecasts.horizon,
  forecasts.target_date,
  forecasts.last_close,
  forecasts.close_p01,
  forecasts.close_p05,
  forecasts.close_p10,
  forecasts.close_p25,
  forecasts.close_p50,
  forecasts.close_p75,
  forecasts.close_p90,
  forecasts.close_p95,
  forecasts.close_p99,
  forecasts.naive_close,
  forecasts.method,
  forecasts.model_version,
  forecasts.fallback,
  accuracy.actual_close,
  accuracy.error,
  accuracy.naive_error,
  accuracy.inside_80,
  ABS(accuracy.error) / accuracy.actual_close AS relative_error,
  ABS(accuracy.naive_error) / accuracy.actual_close AS relative_naive_error
FROM (SELECT * FROM `{dataset}.forecasts` WHERE date >= DATE '1900-01-01') AS forecasts
LEFT JOIN (SELECT * FROM `{dataset}.forecast_accuracy` WHERE date >= DATE '1900-01-01') AS accuracy
  ON accuracy.ticker = forecasts.ticker
  AND accuracy.date = forecasts.target_date
  AND accuracy.as_of_date = forecasts.date
  AND accuracy.horizon = forecasts.horizon
