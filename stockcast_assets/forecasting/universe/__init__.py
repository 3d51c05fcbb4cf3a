"""One network for all tickers: it starts from an interval that knows the market and the reports, and scales it."""
