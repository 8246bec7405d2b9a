"""Who speaks and what they may do: tokens, keys, Origin, passwords. Serves no HTTP."""
