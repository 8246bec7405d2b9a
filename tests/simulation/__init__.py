"""A hub under every fault we can think of, and a judge over what its clients saw."""
