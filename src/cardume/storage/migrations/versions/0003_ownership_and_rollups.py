"""Who may write, and the hours that are left of old readings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cardume.storage.types import Number, chars

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ownership",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("token", chars(32), nullable=False),
        sa.Column("host", chars(255), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("boot", chars(64), nullable=False),
        sa.Column("space", chars(64), nullable=False),
        sa.Column("started", chars(32), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("beat_at", sa.Double(), nullable=False),
        sa.Column("lease", sa.Double(), nullable=False),
        sa.Column("address", chars(255), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ownership")),
    )
    op.create_table(
        "rollups",
        sa.Column("aquarium_id", Number, nullable=False),
        sa.Column("metric", chars(64), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sensor_id", Number, autoincrement=False, nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["aquarium_id"],
            ["aquariums.id"],
            name=op.f("fk_rollups_aquarium_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "aquarium_id", "metric", "hour", "sensor_id", name=op.f("pk_rollups")
        ),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("rollups")
    op.drop_table("ownership")
