"""Every table, by the app whose truth it holds.

Alembic compares its migrations with these; `tests/storage` fails where they differ.
"""

from cardume.storage.tables.agents import agents, proposals, tasks, terms, votes
from cardume.storage.tables.aquarium import (
    alert_rules,
    alerts,
    aquariums,
    device_events,
    devices,
    inflight,
    members,
    readings,
    rollups,
    rule_states,
    sensors,
    targets,
)
from cardume.storage.tables.base import metadata
from cardume.storage.tables.cards import boards, cards
from cardume.storage.tables.commands import device_commands
from cardume.storage.tables.executions import execution_logs, executions
from cardume.storage.tables.house import ownership, sequences, users

__all__ = [
    "agents",
    "alert_rules",
    "alerts",
    "aquariums",
    "boards",
    "cards",
    "device_commands",
    "device_events",
    "devices",
    "execution_logs",
    "executions",
    "inflight",
    "members",
    "metadata",
    "ownership",
    "proposals",
    "readings",
    "rollups",
    "rule_states",
    "sensors",
    "sequences",
    "targets",
    "tasks",
    "terms",
    "users",
    "votes",
]
