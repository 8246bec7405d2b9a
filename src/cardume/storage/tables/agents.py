"""Agents and what they do together: tasks, terms of leaders, proposals and votes."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Table,
    Text,
)

from cardume.storage.tables.base import metadata
from cardume.storage.types import Number, chars

agents = Table(
    "agents",
    metadata,
    Column("agent_id", chars(100), primary_key=True),
    Column("agent_type", chars(64), nullable=False),
    Column("name", chars(200)),
    Column("status", chars(16), nullable=False),
    Column("capabilities", JSON, nullable=False),
    Column("config", JSON, nullable=False),
    Column("lease_seconds", Double),
    Column("heartbeat_at", Double),
    Column("version", Number, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", chars(255), nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("ix_agents_status", "status", "created_at", "agent_id"),
)
"""`lease_seconds` null: the default. `heartbeat_at` null: it never sent one, and cannot lapse."""

tasks = Table(
    "tasks",
    metadata,
    Column("number", Number, primary_key=True),
    Column("task_type", chars(64), nullable=False),
    Column("priority", Number, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("required_capability", chars(64)),
    Column("lease_seconds", Double),
    Column("status", chars(16), nullable=False),
    Column("agent_id", chars(100)),
    Column("attempts", Number, nullable=False),
    Column("max_attempts", Number, nullable=False),
    Column("deadline", Double),
    Column("result", JSON),
    Column("error", Text),
    Column("version", Number, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", chars(255), nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("assigned_at", Double),
    Column("started_at", Double),
    Column("finished_at", Double),
    Index("ix_tasks_status", "status", "number"),
    Index("ix_tasks_agent_id", "agent_id", "status"),
    sqlite_autoincrement=True,
)
"""A task has an owner while it is assigned or started; one that has ended keeps its last."""

terms = Table(
    "terms",
    metadata,
    Column("term", Number, primary_key=True, autoincrement=False),
    Column("leader_id", chars(100), nullable=False),
    Column("reason", chars(32), nullable=False),
    Column("elected_at", Double, nullable=False),
    Column("vacated_at", Double),
)
"""One leader a term, by the key. The last one leads until `vacated_at`."""

proposals = Table(
    "proposals",
    metadata,
    Column("number", Number, primary_key=True),
    Column("topic", chars(200), nullable=False),
    Column("value", JSON),
    Column("quorum", Double, nullable=False),
    Column("decision", chars(16)),
    Column("approval_rate", Double),
    Column("proposed_by", chars(255), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("deadline", Double, nullable=False),
    Column("decided_at", Double),
    Index("ix_proposals_decision", "decision", "deadline"),
    sqlite_autoincrement=True,
)
"""`decision` null: still open."""

votes = Table(
    "votes",
    metadata,
    Column(
        "proposal", Number, ForeignKey("proposals.number", ondelete="CASCADE"), primary_key=True
    ),
    Column("agent_id", chars(100), primary_key=True),
    Column("approve", Boolean),
    Column("voted_at", Double),
    Column("voted_by", chars(255)),
)
"""A row for each voter, made with the proposal; `approve` null: has not voted."""
