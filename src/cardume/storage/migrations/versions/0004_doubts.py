"""How often a device's retained `offline` was wrong."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cardume.storage.types import Number

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # As it is on every database: no table is built anew for a column with a default.
    op.add_column("devices", sa.Column("doubts", Number, nullable=False, server_default="0"))


def downgrade() -> None:
    # Not in batch mode: a table that is built anew takes the history of its devices with it.
    op.drop_column("devices", "doubts")
