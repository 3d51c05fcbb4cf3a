-- Bars and their technical indicators, one row per ticker and session: the Forecasts page without its forecast.
SELECT
  indicators.*,
  bars.open,
  bars.high,
  bars.low,
  bars.volume
FROM (SELECT * FROM `{dataset}.indicators` WHERE date >= DATE '1900-01-01') AS indicators
LEFT JOIN (
  SELECT ticker, date, open, high, low, volume FROM `{dataset}.raw_prices` WHERE date >= DATE '1900-01-01'
) AS bars
  ON bars.ticker = indicators.ticker AND bars.date = indicators.date
