"""The first tables: users, aquariums, devices, readings, alerts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cardume.storage.types import Number, chars

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "aquariums",
        sa.Column("id", Number, nullable=False),
        sa.Column("name", chars(200), nullable=False),
        sa.Column("kind", chars(32), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", chars(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_aquariums")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "inflight",
        sa.Column("session", chars(400), nullable=False),
        sa.Column("packet_id", Number, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("session", "packet_id", name=op.f("pk_inflight")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "users",
        sa.Column("name", chars(255), nullable=False),
        sa.Column("password_hash", chars(255), nullable=False),
        sa.Column("role", chars(32), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_users")),
    )
    op.create_table(
        "alert_rules",
        sa.Column("id", Number, nullable=False),
        sa.Column("aquarium_id", Number, nullable=False),
        sa.Column("name", chars(200), nullable=True),
        sa.Column("metric", chars(64), nullable=False),
        sa.Column("sensor_id", Number, nullable=True),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("low_critical", sa.Double(), nullable=True),
        sa.Column("high_critical", sa.Double(), nullable=True),
        sa.Column("severity", chars(16), nullable=False),
        sa.Column("deadband", sa.Double(), nullable=False),
        sa.Column("for_seconds", sa.Double(), nullable=False),
        sa.Column("clear_seconds", sa.Double(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["aquarium_id"],
            ["aquariums.id"],
            name=op.f("fk_alert_rules_aquarium_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_rules")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("alert_rules", schema=None) as batch_op:
        batch_op.create_index("ix_alert_rules_aquarium_id", ["aquarium_id"], unique=False)

    op.create_table(
        "alerts",
        sa.Column("id", Number, nullable=False),
        sa.Column("aquarium_id", Number, nullable=False),
        sa.Column("device_id", chars(64), nullable=True),
        sa.Column("rule_id", Number, nullable=True),
        sa.Column("dedupe_key", chars(250), nullable=False),
        sa.Column("kind", chars(32), nullable=False),
        sa.Column("severity", chars(16), nullable=False),
        sa.Column("state", chars(16), nullable=False),
        sa.Column("title", chars(300), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("metric", chars(64), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("peak_value", sa.Double(), nullable=True),
        sa.Column("occurrences", Number, nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("last_occurred_at", sa.Double(), nullable=False),
        sa.Column("cleared_at", sa.Double(), nullable=True),
        sa.Column("clear_reason", chars(64), nullable=True),
        sa.Column("clear_after", sa.Double(), nullable=True),
        sa.Column("acked_at", sa.Double(), nullable=True),
        sa.Column("acked_by", chars(255), nullable=True),
        sa.Column("ack_note", sa.Text(), nullable=True),
        sa.Column("shelved_until", sa.Double(), nullable=True),
        sa.Column("shelve_reason", sa.Text(), nullable=True),
        sa.Column("version", Number, nullable=False),
        sa.ForeignKeyConstraint(
            ["aquarium_id"],
            ["aquariums.id"],
            name=op.f("fk_alerts_aquarium_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.create_index("ix_alerts_aquarium_id_id", ["aquarium_id", "id"], unique=False)
        batch_op.create_index(
            "ix_alerts_open",
            ["dedupe_key"],
            unique=True,
            sqlite_where=sa.text("cleared_at IS NULL"),
            postgresql_where=sa.text("cleared_at IS NULL"),
        )

    op.create_table(
        "devices",
        sa.Column("device_id", chars(64), nullable=False),
        sa.Column("aquarium_id", Number, nullable=False),
        sa.Column("name", chars(200), nullable=True),
        sa.Column("key_hash", chars(64), nullable=False),
        sa.Column("expected_interval", sa.Double(), nullable=True),
        sa.Column("status", chars(16), nullable=False),
        sa.Column("status_since", sa.Double(), nullable=False),
        sa.Column("reason", chars(32), nullable=False),
        sa.Column("last_seen_at", sa.Double(), nullable=True),
        sa.Column("hold_until", sa.Double(), nullable=True),
        sa.Column("hold_reason", chars(32), nullable=True),
        sa.Column("session", chars(64), nullable=True),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.Column("wake_in", sa.Double(), nullable=True),
        sa.Column("state_version", Number, nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["aquarium_id"],
            ["aquariums.id"],
            name=op.f("fk_devices_aquarium_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_devices")),
    )
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.create_index("ix_devices_aquarium_id", ["aquarium_id"], unique=False)

    op.create_table(
        "members",
        sa.Column("aquarium_id", Number, nullable=False),
        sa.Column("sub", chars(255), nullable=False),
        sa.Column("role", chars(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["aquarium_id"],
            ["aquariums.id"],
            name=op.f("fk_members_aquarium_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("aquarium_id", "sub", name=op.f("pk_members")),
    )
    with op.batch_alter_table("members", schema=None) as batch_op:
        batch_op.create_index("ix_members_sub", ["sub"], unique=False)

    op.create_table(
        "readings",
        sa.Column(
            "id",
            Number,
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("aquarium_id", Number, nullable=False),
        sa.Column("sensor_id", Number, nullable=False),
        sa.Column("device_id", chars(64), nullable=True),
        sa.Column("metric", chars(64), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("unit", chars(16), nullable=True),
        sa.Column("measured_at", sa.Double(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("origin", chars(16), nullable=False),
        sa.Column("entered_by", chars(255), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("identity", chars(400), nullable=True),
        sa.Column("ts_raw", chars(64), nullable=True),
        sa.ForeignKeyConstraint(
            ["aquarium_id"],
            ["aquariums.id"],
            name=op.f("fk_readings_aquarium_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_readings")),
    )
    with op.batch_alter_table("readings", schema=None) as batch_op:
        batch_op.create_index(
            "ix_readings_identity",
            ["device_id", "identity"],
            unique=True,
            sqlite_where=sa.text("identity IS NOT NULL"),
            postgresql_where=sa.text("identity IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_readings_series", ["aquarium_id", "metric", "measured_at"], unique=False
        )

    op.create_table(
        "sensors",
        sa.Column("id", Number, nullable=False),
        sa.Column("aquarium_id", Number, nullable=False),
        sa.Column("device_id", chars(64), nullable=True),
        sa.Column("name", chars(64), nullable=False),
        sa.Column("metric", chars(64), nullable=False),
        sa.Column("source", chars(200), nullable=False),
        sa.Column("unit", chars(16), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("measured_at", sa.Double(), nullable=True),
        sa.Column("reading_id", sa.BigInteger(), nullable=True),
        sa.Column("origin", chars(16), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["aquarium_id"],
            ["aquariums.id"],
            name=op.f("fk_sensors_aquarium_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sensors")),
        sa.UniqueConstraint("aquarium_id", "source", name=op.f("uq_sensors_aquarium_id_source")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "targets",
        sa.Column("aquarium_id", Number, nullable=False),
        sa.Column("metric", chars(64), nullable=False),
        sa.Column("unit", chars(16), nullable=False),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["aquarium_id"],
            ["aquariums.id"],
            name=op.f("fk_targets_aquarium_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("aquarium_id", "metric", name=op.f("pk_targets")),
    )
    op.create_table(
        "device_events",
        sa.Column("id", Number, nullable=False),
        sa.Column("device_id", chars(64), nullable=False),
        sa.Column("aquarium_id", Number, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("status", chars(16), nullable=False),
        sa.Column("previous", chars(16), nullable=False),
        sa.Column("reason", chars(32), nullable=False),
        sa.Column("state_version", Number, nullable=False),
        sa.ForeignKeyConstraint(
            ["aquarium_id"],
            ["aquariums.id"],
            name=op.f("fk_device_events_aquarium_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["device_id"],
            ["devices.device_id"],
            name=op.f("fk_device_events_device_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_events")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("device_events", schema=None) as batch_op:
        batch_op.create_index("ix_device_events_device_id_at", ["device_id", "at"], unique=False)

    op.create_table(
        "rule_states",
        sa.Column("rule_id", Number, nullable=False),
        sa.Column("sensor_id", Number, nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["alert_rules.id"], name=op.f("fk_rule_states_rule_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rule_id", "sensor_id", name=op.f("pk_rule_states")),
    )


def downgrade() -> None:
    op.drop_table("rule_states")
    with op.batch_alter_table("device_events", schema=None) as batch_op:
        batch_op.drop_index("ix_device_events_device_id_at")

    op.drop_table("device_events")
    op.drop_table("targets")
    op.drop_table("sensors")
    with op.batch_alter_table("readings", schema=None) as batch_op:
        batch_op.drop_index("ix_readings_series")
        batch_op.drop_index(
            "ix_readings_identity",
            sqlite_where=sa.text("identity IS NOT NULL"),
            postgresql_where=sa.text("identity IS NOT NULL"),
        )

    op.drop_table("readings")
    with op.batch_alter_table("members", schema=None) as batch_op:
        batch_op.drop_index("ix_members_sub")

    op.drop_table("members")
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.drop_index("ix_devices_aquarium_id")

    op.drop_table("devices")
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_alerts_open",
            sqlite_where=sa.text("cleared_at IS NULL"),
            postgresql_where=sa.text("cleared_at IS NULL"),
        )
        batch_op.drop_index("ix_alerts_aquarium_id_id")

    op.drop_table("alerts")
    with op.batch_alter_table("alert_rules", schema=None) as batch_op:
        batch_op.drop_index("ix_alert_rules_aquarium_id")

    op.drop_table("alert_rules")
    op.drop_table("users")
    op.drop_table("inflight")
    op.drop_table("aquariums")
