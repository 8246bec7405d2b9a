"""Aquariums, their devices and readings, alert rules and alerts."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from cardume.storage.tables.base import metadata
from cardume.storage.types import Number, chars


def _aquarium() -> Column[int]:
    return Column(
        "aquarium_id", Number, ForeignKey("aquariums.id", ondelete="CASCADE"), nullable=False
    )


aquariums = Table(
    "aquariums",
    metadata,
    Column("id", Number, primary_key=True),
    Column("name", chars(200), nullable=False),
    Column("kind", chars(32), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", chars(255), nullable=False),
    sqlite_autoincrement=True,  # an id that came back would let an old token in
)

members = Table(
    "members",
    metadata,
    Column("aquarium_id", Number, ForeignKey("aquariums.id", ondelete="CASCADE"), primary_key=True),
    Column("sub", chars(255), primary_key=True),
    Column("role", chars(32), nullable=False),
    Index("ix_members_sub", "sub"),
)

targets = Table(
    "targets",
    metadata,
    Column("aquarium_id", Number, ForeignKey("aquariums.id", ondelete="CASCADE"), primary_key=True),
    Column("metric", chars(64), primary_key=True),
    Column("unit", chars(16), nullable=False),
    Column("low", Double),
    Column("high", Double),
)

sensors = Table(
    "sensors",
    metadata,
    Column("id", Number, primary_key=True),
    _aquarium(),
    Column("device_id", chars(64)),
    Column("name", chars(64), nullable=False),
    Column("metric", chars(64), nullable=False),
    Column("source", chars(200), nullable=False),
    Column("unit", chars(16)),
    Column("value", Double),
    Column("measured_at", Double),
    Column("reading_id", BigInteger),
    Column("origin", chars(16)),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("aquarium_id", "source"),
    sqlite_autoincrement=True,
)
"""A source of one metric, with its latest value. `source` names device, sensor and metric."""

readings = Table(
    "readings",
    metadata,
    # INTEGER is SQLite's own row id: BIGINT would be an index of its own, written for each reading.
    Column("id", Number, primary_key=True, autoincrement=False),
    _aquarium(),
    Column("sensor_id", Number, nullable=False),
    Column("device_id", chars(64)),
    Column("metric", chars(64), nullable=False),
    Column("value", Double, nullable=False),
    Column("unit", chars(16)),
    Column("measured_at", Double, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("origin", chars(16), nullable=False),
    Column("entered_by", chars(255)),
    Column("note", Text),
    Column("identity", chars(400)),
    Column("ts_raw", chars(64)),
    Index("ix_readings_series", "aquarium_id", "metric", "measured_at"),
    Index(
        "ix_readings_identity",
        "device_id",
        "identity",
        unique=True,
        sqlite_where=text("identity IS NOT NULL"),
        postgresql_where=text("identity IS NOT NULL"),
    ),
)

rollups = Table(
    "rollups",
    metadata,
    Column("aquarium_id", Number, ForeignKey("aquariums.id", ondelete="CASCADE"), primary_key=True),
    Column("metric", chars(64), primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("sensor_id", Number, primary_key=True, autoincrement=False),
    Column("low", Double, nullable=False),
    Column("high", Double, nullable=False),
    Column("total", Double, nullable=False),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What is left of the readings of an hour (since 1970) that are not in `readings` any more.

A reading is in one of the two tables and never in both. `total` is the sum of the values divided
by 2^32, which loses nothing and cannot overflow."""

inflight = Table(
    "inflight",
    metadata,
    Column("session", chars(400), primary_key=True),
    Column("packet_id", Number, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
    sqlite_with_rowid=False,
)
"""QoS 1 messages that carry no identity of their own: committed, PUBACK not known to be there."""

devices = Table(
    "devices",
    metadata,
    Column("device_id", chars(64), primary_key=True),
    _aquarium(),
    Column("name", chars(200)),
    Column("key_hash", chars(64), nullable=False),
    Column("expected_interval", Double),
    Column("status", chars(16), nullable=False),
    Column("status_since", Double, nullable=False),
    Column("reason", chars(32), nullable=False),
    Column("last_seen_at", Double),
    Column("hold_until", Double),
    Column("hold_reason", chars(32)),
    Column("session", chars(64)),
    Column("connected", Boolean, nullable=False),
    Column("wake_in", Double),
    Column("state_version", Number, nullable=False),
    Column("doubts", Number, nullable=False, server_default="0"),
    Column("report", JSON),
    Column("created_at", Double, nullable=False),
    Index("ix_devices_aquarium_id", "aquarium_id"),
)

device_events = Table(
    "device_events",
    metadata,
    Column("id", Number, primary_key=True),
    Column(
        "device_id",
        chars(64),
        ForeignKey("devices.device_id", ondelete="CASCADE"),
        nullable=False,
    ),
    _aquarium(),
    Column("at", Double, nullable=False),
    Column("status", chars(16), nullable=False),
    Column("previous", chars(16), nullable=False),
    Column("reason", chars(32), nullable=False),
    Column("state_version", Number, nullable=False),
    Column("command_id", chars(64)),
    Index("ix_device_events_device_id_at", "device_id", "at"),
    sqlite_autoincrement=True,
)
"""Changes of a device's status; where there is a `command_id`, of that command's."""

alert_rules = Table(
    "alert_rules",
    metadata,
    Column("id", Number, primary_key=True),
    _aquarium(),
    Column("name", chars(200)),
    Column("metric", chars(64), nullable=False),
    Column("sensor_id", Number),
    Column("low", Double),
    Column("high", Double),
    Column("low_critical", Double),
    Column("high_critical", Double),
    Column("severity", chars(16), nullable=False),
    Column("deadband", Double, nullable=False),
    Column("for_seconds", Double, nullable=False),
    Column("clear_seconds", Double, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("ix_alert_rules_aquarium_id", "aquarium_id"),
    sqlite_autoincrement=True,
)

rule_states = Table(
    "rule_states",
    metadata,
    Column("rule_id", Number, ForeignKey("alert_rules.id", ondelete="CASCADE"), primary_key=True),
    Column("sensor_id", Number, primary_key=True),
    Column("state", JSON, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Number, primary_key=True),
    _aquarium(),
    Column("device_id", chars(64)),
    Column("rule_id", Number),
    Column("dedupe_key", chars(250), nullable=False),
    Column("kind", chars(32), nullable=False),
    Column("severity", chars(16), nullable=False),
    Column("state", chars(16), nullable=False),
    Column("title", chars(300), nullable=False),
    Column("message", Text, nullable=False),
    Column("metric", chars(64)),
    Column("value", Double),
    Column("threshold", Double),
    Column("peak_value", Double),
    Column("occurrences", Number, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("last_occurred_at", Double, nullable=False),
    Column("cleared_at", Double),
    Column("clear_reason", chars(64)),
    Column("clear_after", Double),
    Column("acked_at", Double),
    Column("acked_by", chars(255)),
    Column("ack_note", Text),
    Column("shelved_until", Double),
    Column("shelve_reason", Text),
    Column("version", Number, nullable=False),
    Index(
        "ix_alerts_open",
        "dedupe_key",
        unique=True,
        sqlite_where=text("cleared_at IS NULL"),
        postgresql_where=text("cleared_at IS NULL"),
    ),
    Index("ix_alerts_aquarium_id_id", "aquarium_id", "id"),
    sqlite_autoincrement=True,
)
