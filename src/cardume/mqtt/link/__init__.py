"""The link to a real broker: one connection of ours, and what comes over it."""
