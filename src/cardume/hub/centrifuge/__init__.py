"""Clients of the `centrifuge` dialect: many channels on one connection, pings that we send."""
