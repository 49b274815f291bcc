"""Partitions: on PostgreSQL readings stand by months (docs/adr/0033-partitions-and-retention.md)"""

from __future__ import annotations

from datetime import UTC, datetime

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_INDEXES = (
    ("reading_number_of", "key, epoch, seq"),
    ("reading_point_time", "point, answered_ms"),
    ("reading_time", "answered_ms"),
    ("reading_seal_interval", "seal_interval"),
)
_SLOT_ENDS = ("opening", "closing")


def upgrade() -> None:
    """Put the table's rows into partitions by UTC month; SQLite keeps its table."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("LOCK TABLE reading IN ACCESS EXCLUSIVE MODE")
    _drop_references()
    op.execute("ALTER TABLE reading RENAME TO reading_whole")
    for name, _ in _INDEXES[1:]:
        op.execute(f"DROP INDEX {name}")
    for column in _SLOT_ENDS:
        op.execute(f"ALTER TABLE slot ALTER COLUMN {column} TYPE BIGINT")
    op.execute("ALTER SEQUENCE reading_id_seq AS BIGINT")
    op.execute(
        "CREATE TABLE reading (LIKE reading_whole INCLUDING DEFAULTS) "
        "PARTITION BY RANGE (answered_ms)"
    )
    op.execute("ALTER TABLE reading ALTER COLUMN id TYPE BIGINT")
    op.execute("ALTER SEQUENCE reading_id_seq OWNED BY reading.id")
    op.execute("CREATE TABLE reading_default PARTITION OF reading DEFAULT")
    for month in _months():
        _add_partition(month)
    op.execute("INSERT INTO reading SELECT * FROM reading_whole")
    op.execute("DROP TABLE reading_whole")
    op.execute("ALTER TABLE reading ADD PRIMARY KEY (id, answered_ms)")
    op.execute(
        "ALTER TABLE reading ADD CONSTRAINT reading_receipt_batch_fkey "
        "FOREIGN KEY (receipt_batch) REFERENCES receipt_batch (id)"
    )
    for name, columns in _INDEXES:
        op.execute(f"CREATE INDEX {name} ON reading ({columns})")
    _number_them()


def _months() -> list[str]:
    found = op.get_bind().execute(
        text(
            "SELECT DISTINCT to_char(to_timestamp(answered_ms / 1000) AT TIME ZONE 'UTC', "
            "'YYYY-MM') FROM reading_whole WHERE answered_ms BETWEEN 0 AND 253402300799999 ORDER BY 1"
        )
    )
    return [month for (month,) in found]


def _add_partition(month: str) -> None:
    year, number = int(month[:4]), int(month[5:])
    begin = datetime(year, number, 1, tzinfo=UTC)
    after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC) if year < 9999 else None
    if after is None:
        return  # the last year that has a name: the default partition holds it
    first_ms, after_ms = (int(moment.timestamp()) * 1000 for moment in (begin, after))
    op.execute(
        f"CREATE TABLE reading_{year:04}_{number:02} PARTITION OF reading "
        f"FOR VALUES FROM ({first_ms}) TO ({after_ms})"
    )


def _number_them() -> None:
    """Hold each (key, epoch, seq) once over all partitions, for good."""
    op.execute(
        "CREATE TABLE reading_number (key VARCHAR NOT NULL, epoch INTEGER NOT NULL, "
        "seq BIGINT NOT NULL, answered_ms BIGINT NOT NULL, PRIMARY KEY (key, epoch, seq))"
    )
    op.execute("INSERT INTO reading_number SELECT key, epoch, seq, answered_ms FROM reading")
    op.execute(
        "CREATE FUNCTION take_reading_number() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO reading_number SELECT key, epoch, seq, answered_ms FROM fresh; "
        "RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER reading_takes_number AFTER INSERT ON reading REFERENCING NEW TABLE AS fresh "
        "FOR EACH STATEMENT EXECUTE FUNCTION take_reading_number()"
    )


def _drop_references() -> None:
    """A foreign key would need the month beside the id: no other table has it."""
    found = op.get_bind().execute(
        text(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint "
            "WHERE contype = 'f' AND confrelid = 'reading'::regclass"
        )
    )
    for owner, name in found.all():
        op.execute(f'ALTER TABLE {owner} DROP CONSTRAINT "{name}"')


def downgrade() -> None:
    """Put all rows back into one table."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("DROP TRIGGER reading_takes_number ON reading")
    op.execute("DROP FUNCTION take_reading_number")
    op.execute("DROP TABLE reading_number")
    op.execute("ALTER TABLE reading RENAME TO reading_parts")
    for name, _ in _INDEXES:
        op.execute(f"DROP INDEX {name}")
    op.execute("CREATE TABLE reading (LIKE reading_parts INCLUDING DEFAULTS)")
    op.execute("ALTER TABLE reading ALTER COLUMN id TYPE INTEGER")
    op.execute("ALTER SEQUENCE reading_id_seq OWNED BY reading.id")
    op.execute("INSERT INTO reading SELECT * FROM reading_parts")
    op.execute("DROP TABLE reading_parts")
    op.execute("ALTER SEQUENCE reading_id_seq AS INTEGER")
    op.execute("ALTER TABLE reading ADD CONSTRAINT reading_pkey PRIMARY KEY (id)")
    op.execute(
        "ALTER TABLE reading ADD CONSTRAINT reading_key_epoch_seq_key UNIQUE (key, epoch, seq)"
    )
    op.execute(
        "ALTER TABLE reading ADD CONSTRAINT reading_receipt_batch_fkey "
        "FOREIGN KEY (receipt_batch) REFERENCES receipt_batch (id)"
    )
    for name, columns in _INDEXES[1:]:
        op.execute(f"CREATE INDEX {name} ON reading ({columns})")
    for column in _SLOT_ENDS:
        op.execute(f"ALTER TABLE slot ALTER COLUMN {column} TYPE INTEGER")
        op.execute(
            f"ALTER TABLE slot ADD CONSTRAINT slot_{column}_fkey "
            f"FOREIGN KEY ({column}) REFERENCES reading (id)"
        )
