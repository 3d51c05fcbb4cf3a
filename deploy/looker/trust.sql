-- Sums per ticker, target session, horizon and time of publication: late ones are no forecasts, so filter by `published`.
-- Skill over a range: 1 - SQRT(SUM(squared_error) / SUM(squared_naive_error)). Live ratio to HAR: SUM(pinball_beside_har) / SUM(pinball_har).
-- The quantiles 1 % and 99 % are those of the ledger's revision that was scored, and the close is brought into its shares as `error` is.
SELECT
  ticker,
  date,
  horizon,
  CASE WHEN late IS NULL THEN 'not known' WHEN late THEN 'late' ELSE 'in time' END AS published,
  COUNT(*) AS forecasts,
  SUM(CASE WHEN inside_80 THEN 1 ELSE 0 END) AS inside_80,
  SUM(POW(error / actual_close, 2)) AS squared_error,
  SUM(POW(naive_error / actual_close, 2)) AS squared_naive_error,
  SUM(pinball) AS pinball,
  SUM(crps) AS crps,
  SUM(interval_score_80) AS interval_score_80,
  SUM(CASE WHEN pinball_random_walk IS NOT NULL THEN pinball END) AS pinball_beside_random_walk,
  SUM(pinball_random_walk) AS pinball_random_walk,
  SUM(CASE WHEN pinball_vol60 IS NOT NULL THEN pinball END) AS pinball_beside_vol60,
  SUM(pinball_vol60) AS pinball_vol60,
  SUM(CASE WHEN pinball_har IS NOT NULL THEN pinball END) AS pinball_beside_har,
  SUM(pinball_har) AS pinball_har,
  SUM(CASE WHEN pinball_har_earnings IS NOT NULL THEN pinball END) AS pinball_beside_har_earnings,
  SUM(pinball_har_earnings) AS pinball_har_earnings,
  SUM(CASE WHEN close_p01 IS NOT NULL AND close_p99 IS NOT NULL THEN 1 ELSE 0 END) AS forecasts_with_tails,
  SUM(CASE WHEN close_p99 IS NOT NULL AND outcome <= close_p01 THEN 1 ELSE 0 END) AS at_or_below_p01,
  SUM(CASE WHEN close_p01 IS NOT NULL AND outcome <= close_p99 THEN 1 ELSE 0 END) AS at_or_below_p99,
  SUM(CASE WHEN close_p01 <= outcome AND outcome <= close_p99 THEN 1 ELSE 0 END) AS inside_98
FROM (
  SELECT
    accuracy.*,
    ledger.close_p01,
    ledger.close_p99,
    accuracy.actual_close * ledger.close_p50 / (accuracy.actual_close + accuracy.error) AS outcome
  FROM (SELECT * FROM `{dataset}.forecast_accuracy` WHERE date >= DATE '1900-01-01') AS accuracy
  LEFT JOIN (
    SELECT ticker, date, horizon, revision, close_p01, close_p50, close_p99
    FROM `{dataset}.published_forecasts`
    WHERE date >= DATE '1900-01-01'
  ) AS ledger
    ON ledger.ticker = accuracy.ticker
    AND ledger.date = accuracy.as_of_date
    AND ledger.horizon = accuracy.horizon
    AND ledger.revision = accuracy.revision
)
GROUP BY ticker, date, horizon, published
