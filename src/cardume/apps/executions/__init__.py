"""Executions: commands that run elsewhere, and their logs that stream through here."""

from cardume.apps.executions.app import Executions, ExecutionsOptions
from cardume.apps.executions.http import router

__all__ = ["Executions", "ExecutionsOptions", "router"]
