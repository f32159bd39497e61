"""Rate limits: budgets per API key, and per address for failed authentications (decision 0022)."""
