"""Who may call: API keys, abilities, address allowlists, the block list."""
