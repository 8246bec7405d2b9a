"""Autobahn's test suite against an echo on our protocol class: `python3 run.py autobahn`."""
