-- Drift by ticker, day, kind (inputs, predictions, residuals) and feature; a ratio of 1 and above counts as drifted.
SELECT
  ticker,
  date,
  COALESCE(kind, 'inputs') AS kind,
  feature,
  method,
  score,
  threshold,
  score / threshold AS ratio,
  drifted,
  reference_from,
  reference_to,
  current_from,
  current_to,
  report_uri
FROM `{dataset}.drift_report`
WHERE date >= DATE '1900-01-01'
