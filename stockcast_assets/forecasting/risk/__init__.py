"""What several tickers may do together, and what that means for who holds them."""
