"""Workflows: their versions, runs and journals, what waits for people, deliveries, workers."""

from alembic import op

from kernel.storage import schema

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NEW = (
    "workflow_version",
    "workflow_event",
    "event_secret",
    "trigger_mark",
    "run",
    "run_state",
    "run_event",
    "task",
    "task_event",
    "delivery",
    "breaker",
    "allowance",
)


def upgrade() -> None:
    connection = op.get_bind()
    schema.metadata.create_all(connection, tables=[schema.metadata.tables[name] for name in NEW])


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back: restore a backup made before the upgrade")
