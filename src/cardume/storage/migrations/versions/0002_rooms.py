"""Agents and their coordination, boards and cards, executions and their logs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cardume.storage.types import Number, chars

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("agent_id", chars(100), nullable=False),
        sa.Column("agent_type", chars(64), nullable=False),
        sa.Column("name", chars(200), nullable=True),
        sa.Column("status", chars(16), nullable=False),
        sa.Column("capabilities", sa.JSON(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("lease_seconds", sa.Double(), nullable=True),
        sa.Column("heartbeat_at", sa.Double(), nullable=True),
        sa.Column("version", Number, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", chars(255), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_agents")),
    )
    with op.batch_alter_table("agents", schema=None) as batch_op:
        batch_op.create_index(
            "ix_agents_status", ["status", "created_at", "agent_id"], unique=False
        )

    op.create_table(
        "boards",
        sa.Column("board_id", chars(64), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("version", Number, nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("updated_by", chars(255), nullable=False),
        sa.PrimaryKeyConstraint("board_id", name=op.f("pk_boards")),
    )
    op.create_table(
        "executions",
        sa.Column("number", Number, nullable=False),
        sa.Column("execution_id", chars(32), nullable=False),
        sa.Column("name", chars(200), nullable=False),
        sa.Column("command", sa.Text(), nullable=True),
        sa.Column("card_id", chars(64), nullable=True),
        sa.Column("status", chars(16), nullable=False),
        sa.Column("reason", chars(32), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("exit_code", Number, nullable=True),
        sa.Column("progress", sa.JSON(), nullable=True),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("log_bytes", sa.BigInteger(), nullable=False),
        sa.Column("version", Number, nullable=False),
        sa.Column("created_by", chars(255), nullable=False),
        sa.Column("key_hash", chars(64), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_executions")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.create_index("ix_executions_card_id", ["card_id", "number"], unique=False)
        batch_op.create_index("ix_executions_execution_id", ["execution_id"], unique=True)
        batch_op.create_index("ix_executions_status", ["status", "number"], unique=False)

    op.create_table(
        "proposals",
        sa.Column("number", Number, nullable=False),
        sa.Column("topic", chars(200), nullable=False),
        sa.Column("value", sa.JSON(), nullable=True),
        sa.Column("quorum", sa.Double(), nullable=False),
        sa.Column("decision", chars(16), nullable=True),
        sa.Column("approval_rate", sa.Double(), nullable=True),
        sa.Column("proposed_by", chars(255), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("deadline", sa.Double(), nullable=False),
        sa.Column("decided_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_proposals")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("proposals", schema=None) as batch_op:
        batch_op.create_index("ix_proposals_decision", ["decision", "deadline"], unique=False)

    op.create_table(
        "sequences",
        sa.Column("name", chars(100), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sequences")),
    )
    op.create_table(
        "tasks",
        sa.Column("number", Number, nullable=False),
        sa.Column("task_type", chars(64), nullable=False),
        sa.Column("priority", Number, nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("required_capability", chars(64), nullable=True),
        sa.Column("lease_seconds", sa.Double(), nullable=True),
        sa.Column("status", chars(16), nullable=False),
        sa.Column("agent_id", chars(100), nullable=True),
        sa.Column("attempts", Number, nullable=False),
        sa.Column("max_attempts", Number, nullable=False),
        sa.Column("deadline", sa.Double(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("version", Number, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", chars(255), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("assigned_at", sa.Double(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_tasks")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.create_index("ix_tasks_agent_id", ["agent_id", "status"], unique=False)
        batch_op.create_index("ix_tasks_status", ["status", "number"], unique=False)

    op.create_table(
        "terms",
        sa.Column("term", Number, autoincrement=False, nullable=False),
        sa.Column("leader_id", chars(100), nullable=False),
        sa.Column("reason", chars(32), nullable=False),
        sa.Column("elected_at", sa.Double(), nullable=False),
        sa.Column("vacated_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("term", name=op.f("pk_terms")),
    )
    op.create_table(
        "cards",
        sa.Column("card_id", chars(64), nullable=False),
        sa.Column("board_id", chars(64), nullable=False),
        sa.Column("column_id", chars(64), nullable=False),
        sa.Column("title", chars(300), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("position", chars(255), nullable=False),
        sa.Column("version", Number, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", chars(255), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("updated_by", chars(255), nullable=False),
        sa.ForeignKeyConstraint(
            ["board_id"], ["boards.board_id"], name=op.f("fk_cards_board_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("card_id", name=op.f("pk_cards")),
    )
    with op.batch_alter_table("cards", schema=None) as batch_op:
        batch_op.create_index("ix_cards_column", ["board_id", "column_id", "position"], unique=True)

    op.create_table(
        "execution_logs",
        sa.Column("execution", Number, autoincrement=False, nullable=False),
        sa.Column(
            "last_seq",
            Number,
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution"],
            ["executions.number"],
            name=op.f("fk_execution_logs_execution"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("execution", "last_seq", name=op.f("pk_execution_logs")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "votes",
        sa.Column("proposal", Number, nullable=False),
        sa.Column("agent_id", chars(100), nullable=False),
        sa.Column("approve", sa.Boolean(), nullable=True),
        sa.Column("voted_at", sa.Double(), nullable=True),
        sa.Column("voted_by", chars(255), nullable=True),
        sa.ForeignKeyConstraint(
            ["proposal"], ["proposals.number"], name=op.f("fk_votes_proposal"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("proposal", "agent_id", name=op.f("pk_votes")),
    )


def downgrade() -> None:
    op.drop_table("votes")
    op.drop_table("execution_logs")
    with op.batch_alter_table("cards", schema=None) as batch_op:
        batch_op.drop_index("ix_cards_column")

    op.drop_table("cards")
    op.drop_table("terms")
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_index("ix_tasks_status")
        batch_op.drop_index("ix_tasks_agent_id")

    op.drop_table("tasks")
    op.drop_table("sequences")
    with op.batch_alter_table("proposals", schema=None) as batch_op:
        batch_op.drop_index("ix_proposals_decision")

    op.drop_table("proposals")
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.drop_index("ix_executions_status")
        batch_op.drop_index("ix_executions_execution_id")
        batch_op.drop_index("ix_executions_card_id")

    op.drop_table("executions")
    op.drop_table("boards")
    with op.batch_alter_table("agents", schema=None) as batch_op:
        batch_op.drop_index("ix_agents_status")

    op.drop_table("agents")
