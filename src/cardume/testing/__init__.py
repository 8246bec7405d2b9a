"""Tools for testing real-time code without waiting: import them in your own tests."""

from cardume.testing.clock import FakeClock

__all__ = ["FakeClock"]
