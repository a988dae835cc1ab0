"""The database: every table, as SQLAlchemy Core describes it.

Names are those of the platform's data model (part 2). Measured values are integer mantissas with a
decimal exponent; instants are UTC seconds beside the fraction and offset that the source wrote.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives rows ids of its own only to a column of type INTEGER.
_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")

meter_individual = sa.Table(
    "meter_individual",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("meter_individual_id", sa.Uuid, nullable=False, unique=True),
    sa.Column("first_seen", sa.BigInteger, nullable=False, comment="UTC seconds"),
)

operational_property_definition = sa.Table(
    "operational_property_definition",
    metadata,
    sa.Column("id", _Id, primary_key=True, comment="number of the property registry; beyond it: our own"),
    sa.Column("property_id", sa.Text, nullable=False, unique=True),
)

# One row per meterReadingIdentifier, in a table of its own that no partitioning of readings touches.
reading_key = sa.Table(
    "reading_key",
    metadata,
    sa.Column("meter_reading_identifier", sa.Uuid, primary_key=True),
    sa.Column("meter", _Id, sa.ForeignKey("meter_individual.id"), nullable=False),
    sa.Column("content_hash", sa.LargeBinary(32), nullable=False, comment="of the newest revision"),
    sa.Column("reading", _Id, nullable=False, comment="meter_reading.id of the newest revision"),
    sa.Column("revision", sa.Integer, nullable=False, comment="0: never changed"),
    sqlite_with_rowid=False,
)

meter_reading = sa.Table(
    "meter_reading",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("meter_reading_identifier", sa.Uuid, nullable=False),
    sa.Column("meter", _Id, sa.ForeignKey("meter_individual.id"), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False, comment="UTC seconds"),
    sa.Column("fraction", sa.Text, nullable=False, comment="digits after the decimal point, as received"),
    sa.Column("offset", sa.SmallInteger, comment="minutes east of UTC as received; null: Z"),
    sa.Column("fault_codes", sa.Text, nullable=False, comment="separated by commas"),
    sa.Column("received_at", sa.BigInteger, nullable=False, comment="UTC seconds"),
    sa.Index("ix_meter_reading_meter_time", "meter", "time"),
    sa.Index("ix_meter_reading_identifier", "meter_reading_identifier"),
)

property_value = sa.Table(
    "property_value",
    metadata,
    sa.Column("reading", _Id, sa.ForeignKey("meter_reading.id"), primary_key=True),
    sa.Column("position", sa.SmallInteger, primary_key=True, comment="order within the reading"),
    sa.Column("property", _Id, sa.ForeignKey("operational_property_definition.id"), nullable=False),
    sa.Column("mantissa", sa.BigInteger, comment="numericalValue = mantissa * 10 ** exponent"),
    sa.Column("exponent", sa.SmallInteger, nullable=False),
    sa.Column("text_value", sa.Text),
    sa.Column("unit", sa.Text),
    sa.Column("date", sa.BigInteger, comment="UTC seconds, where it differs from the reading's time"),
    sa.Column("date_fraction", sa.Text, nullable=False),
    sa.Column("date_offset", sa.SmallInteger),
    sqlite_with_rowid=False,
)

# What could not be taken: kept with its reason, and receipted, so that it blocks nothing.
dead_letter = sa.Table(
    "dead_letter",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("received_at", sa.BigInteger, nullable=False, comment="UTC seconds"),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("ix_dead_letter_topic", "topic"),
)

# The receiver's side of custody (gateway.transmission.ledger): which frames are stored, by their hash,
# until their sender asks no more.
custody_stream = sa.Table(
    "custody_stream",
    metadata,
    sa.Column("meter_individual_id", sa.LargeBinary(16), primary_key=True),
    sa.Column("frame_class", sa.SmallInteger, primary_key=True),
    sa.Column("epoch", sa.BigInteger, primary_key=True),
    sa.Column("low", sa.BigInteger, nullable=False),
    sa.Column("key_id", sa.LargeBinary, nullable=False),
    sa.Column("nonce", sa.LargeBinary, nullable=False),
    sa.Column("touched", sa.BigInteger, nullable=False, comment="UTC seconds"),
    sqlite_with_rowid=False,
)

custody_frame = sa.Table(
    "custody_frame",
    metadata,
    sa.Column("meter_individual_id", sa.LargeBinary(16), primary_key=True),
    sa.Column("frame_class", sa.SmallInteger, primary_key=True),
    sa.Column("epoch", sa.BigInteger, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True),
    sa.Column("sha256", sa.LargeBinary(32), nullable=False),
    sqlite_with_rowid=False,
)

# Stored frames whose number could not be read, or stands for other bytes already.
custody_loose = sa.Table(
    "custody_loose",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("meter_individual_id", sa.LargeBinary(16), nullable=False),
    sa.Column("sha256", sa.LargeBinary(32), nullable=False),
    sa.UniqueConstraint("meter_individual_id", "sha256"),
)

# Frames that a sender declared lost for want of space.
custody_drop = sa.Table(
    "custody_drop",
    metadata,
    sa.Column("meter_individual_id", sa.LargeBinary(16), primary_key=True),
    sa.Column("frame_class", sa.SmallInteger, primary_key=True),
    sa.Column("epoch", sa.BigInteger, primary_key=True),
    sa.Column("first", sa.BigInteger, primary_key=True),
    sa.Column("last", sa.BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)

custody_generation = sa.Table(
    "custody_generation",
    metadata,
    sa.Column("meter_individual_id", sa.LargeBinary(16), primary_key=True),
    sa.Column("generation", sa.LargeBinary(8), nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False, comment="UTC seconds"),
    sqlite_with_rowid=False,
)

custody_session = sa.Table(
    "custody_session",
    metadata,
    sa.Column("session", sa.LargeBinary(8), primary_key=True),
    sa.Column("opened", sa.BigInteger, nullable=False, comment="UTC seconds"),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("last_commit", sa.BigInteger, nullable=False, comment="UTC seconds"),
    sqlite_with_rowid=False,
)

# Commands to gateways (docs/custody.md), and how they ended.
command = sa.Table(
    "command",
    metadata,
    sa.Column("meter_individual_id", sa.LargeBinary(16), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, comment="rises; UTC milliseconds or more"),
    sa.Column("issued", sa.BigInteger, nullable=False, comment="UTC seconds"),
    sa.Column("expires", sa.BigInteger, nullable=False, comment="UTC seconds"),
    sa.Column("action", sa.SmallInteger, nullable=False),
    sa.Column("arguments", sa.Text, nullable=False, comment="JSON"),
    sa.Column("tag", sa.LargeBinary(8), nullable=False, comment="of its message; results name it"),
    sa.Column("status", sa.SmallInteger, comment="null: no answer yet"),
    sa.Column("text", sa.Text),
    sa.Column("answered_at", sa.BigInteger, comment="UTC seconds"),
    sqlite_with_rowid=False,
)

# What gateways and the meters behind them said of themselves last (retained, best effort).
gateway_status = sa.Table(
    "gateway_status",
    metadata,
    sa.Column("gateway", sa.Text, primary_key=True, comment="the level of the topic behind concentrator/"),
    sa.Column("meter_individual_id", sa.LargeBinary(16), primary_key=True, comment="empty: of the gateway"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False, comment="UTC seconds, by the gateway where it says so"),
    sa.Column("received_at", sa.BigInteger, nullable=False, comment="UTC seconds"),
    sa.Column("payload", sa.LargeBinary, nullable=False, comment="all that was said, as received"),
    sqlite_with_rowid=False,
)

# A fresh random mark with each checkpoint (sqlite_file.py): a copy that is put in the database's place shows.
checkpoint_mark = sa.Table(
    "checkpoint_mark",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, comment="1"),
    sa.Column("mark", sa.LargeBinary(8), nullable=False),
    sqlite_with_rowid=False,
)


def prepare(connection: sa.Connection) -> None:
    """Makes what is missing."""
    metadata.create_all(connection)


def number(connection: sa.Connection) -> int:
    """SQLite's own of the schema: rises with each change."""
    return int(connection.exec_driver_sql("PRAGMA schema_version").scalar_one())


def mark(connection: sa.Connection, value: bytes) -> None:
    connection.execute(checkpoint_mark.delete())
    connection.execute(checkpoint_mark.insert(), {"id": 1, "mark": value})
