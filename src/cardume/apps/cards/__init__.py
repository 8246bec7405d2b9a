"""Kanban cards: one board, one order, the same for everybody who looks."""

from cardume.apps.cards.app import Cards
from cardume.apps.cards.http import router

__all__ = ["Cards", "router"]
