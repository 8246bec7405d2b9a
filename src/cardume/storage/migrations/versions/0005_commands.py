"""Commands to devices, and their steps among the events of a device."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cardume.storage.types import Number, chars

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_commands",
        sa.Column("number", Number, nullable=False),
        sa.Column("device_id", chars(64), nullable=False),
        sa.Column("id", chars(64), nullable=False),
        sa.Column("command", chars(64), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("status", chars(16), nullable=False),
        sa.Column("result", chars(16), nullable=True),
        sa.Column("answer", sa.JSON(), nullable=True),
        sa.Column("version", Number, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", chars(255), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("sent_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"],
            ["devices.device_id"],
            name=op.f("fk_device_commands_device_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_device_commands")),
        sa.UniqueConstraint("device_id", "id", name=op.f("uq_device_commands_device_id_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_device_commands_device_id_number", "device_commands", ["device_id", "number"]
    )
    op.create_index("ix_device_commands_status", "device_commands", ["status"])
    op.add_column("device_events", sa.Column("command_id", chars(64), nullable=True))


def downgrade() -> None:
    # Their steps mean nothing without the column that says whose they are.
    op.execute("DELETE FROM device_events WHERE command_id IS NOT NULL")
    op.drop_column("device_events", "command_id")
    op.drop_table("device_commands")
