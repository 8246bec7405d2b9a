"""Cardume beside the raw `send()` floor and other servers, on one machine in one run."""
