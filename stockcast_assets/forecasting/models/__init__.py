"""The contenders: the network, the baselines, the volatility models."""
