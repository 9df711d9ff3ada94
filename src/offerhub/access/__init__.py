"""Who may call: marketplaces, API keys, short-lived tokens, and what a credential stands for."""
