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
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from cardume.storage.tables.base import metadata


def _aquarium() -> Column[int]:
    return Column(
        "aquarium_id", Integer, ForeignKey("aquariums.id", ondelete="CASCADE"), nullable=False
    )


aquariums = Table(
    "aquariums",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(255), nullable=False),
    sqlite_autoincrement=True,  # an id that came back would let an old token in
)

members = Table(
    "members",
    metadata,
    Column(
        "aquarium_id", Integer, ForeignKey("aquariums.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("sub", String(255), primary_key=True),
    Column("role", String(32), nullable=False),
    Index("ix_members_sub", "sub"),
)

targets = Table(
    "targets",
    metadata,
    Column(
        "aquarium_id", Integer, ForeignKey("aquariums.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("metric", String(64), primary_key=True),
    Column("unit", String(16), nullable=False),
    Column("low", Double),
    Column("high", Double),
)

sensors = Table(
    "sensors",
    metadata,
    Column("id", Integer, primary_key=True),
    _aquarium(),
    Column("device_id", String(64)),
    Column("name", String(64), nullable=False),
    Column("metric", String(64), nullable=False),
    Column("source", String(200), nullable=False),
    Column("unit", String(16)),
    Column("value", Double),
    Column("measured_at", Double),
    Column("reading_id", BigInteger),
    Column("origin", String(16)),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("aquarium_id", "source"),
    sqlite_autoincrement=True,
)
"""A source of one metric, with its latest value. `source` names device, sensor and metric."""

readings = Table(
    "readings",
    metadata,
    # INTEGER is SQLite's own row id: BIGINT would be an index of its own, written for each reading.
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    ),
    _aquarium(),
    Column("sensor_id", Integer, nullable=False),
    Column("device_id", String(64)),
    Column("metric", String(64), nullable=False),
    Column("value", Double, nullable=False),
    Column("unit", String(16)),
    Column("measured_at", Double, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("entered_by", String(255)),
    Column("note", Text),
    Column("identity", String(400)),
    Column("ts_raw", String(64)),
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

inflight = Table(
    "inflight",
    metadata,
    Column("session", String(400), primary_key=True),
    Column("packet_id", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
    sqlite_with_rowid=False,
)
"""QoS 1 messages that carry no identity of their own: committed, PUBACK not known to be there."""

devices = Table(
    "devices",
    metadata,
    Column("device_id", String(64), primary_key=True),
    _aquarium(),
    Column("name", String(200)),
    Column("key_hash", String(64), nullable=False),
    Column("expected_interval", Double),
    Column("status", String(16), nullable=False),
    Column("status_since", Double, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("last_seen_at", Double),
    Column("hold_until", Double),
    Column("hold_reason", String(32)),
    Column("session", String(64)),
    Column("connected", Boolean, nullable=False),
    Column("wake_in", Double),
    Column("state_version", Integer, nullable=False),
    Column("report", JSON),
    Column("created_at", Double, nullable=False),
    Index("ix_devices_aquarium_id", "aquarium_id"),
)

device_events = Table(
    "device_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column(
        "device_id",
        String(64),
        ForeignKey("devices.device_id", ondelete="CASCADE"),
        nullable=False,
    ),
    _aquarium(),
    Column("at", Double, nullable=False),
    Column("status", String(16), nullable=False),
    Column("previous", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("state_version", Integer, nullable=False),
    Index("ix_device_events_device_id_at", "device_id", "at"),
    sqlite_autoincrement=True,
)

alert_rules = Table(
    "alert_rules",
    metadata,
    Column("id", Integer, primary_key=True),
    _aquarium(),
    Column("name", String(200)),
    Column("metric", String(64), nullable=False),
    Column("sensor_id", Integer),
    Column("low", Double),
    Column("high", Double),
    Column("low_critical", Double),
    Column("high_critical", Double),
    Column("severity", String(16), nullable=False),
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
    Column("rule_id", Integer, ForeignKey("alert_rules.id", ondelete="CASCADE"), primary_key=True),
    Column("sensor_id", Integer, primary_key=True),
    Column("state", JSON, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True),
    _aquarium(),
    Column("device_id", String(64)),
    Column("rule_id", Integer),
    Column("dedupe_key", String(250), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("title", String(300), nullable=False),
    Column("message", Text, nullable=False),
    Column("metric", String(64)),
    Column("value", Double),
    Column("threshold", Double),
    Column("peak_value", Double),
    Column("occurrences", Integer, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("last_occurred_at", Double, nullable=False),
    Column("cleared_at", Double),
    Column("clear_reason", String(64)),
    Column("clear_after", Double),
    Column("acked_at", Double),
    Column("acked_by", String(255)),
    Column("ack_note", Text),
    Column("shelved_until", Double),
    Column("shelve_reason", Text),
    Column("version", Integer, nullable=False),
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
