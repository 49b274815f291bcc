"""The tables (SQLModel). Integers carry their unit in the column name; time is UTC milliseconds."""

from app.tables.accounting import (
    JournalEntry,
    Payment,
    PaymentInput,
    PaymentParty,
    PostingRow,
    SettlementLine,
    StatementRow,
)
from app.tables.district import (
    DistrictRow,
    EnrolmentRow,
    MeteringPointRow,
    NoticeRow,
    ParticipantRow,
    SessionRow,
    TariffRow,
)
from app.tables.evidence import CheckpointRow, LogEntryRow, LogNodeRow
from app.tables.intervals import CorrectionRow, IntervalRow, OrderRow, SlotRow, TradeRow
from app.tables.readings import (
    EvidenceRow,
    GatewayRow,
    ReadingRow,
    ReceiptBatchRow,
    SecurityEventRow,
)

__all__ = [
    "CheckpointRow",
    "CorrectionRow",
    "DistrictRow",
    "EnrolmentRow",
    "EvidenceRow",
    "GatewayRow",
    "IntervalRow",
    "JournalEntry",
    "LogEntryRow",
    "LogNodeRow",
    "MeteringPointRow",
    "NoticeRow",
    "OrderRow",
    "ParticipantRow",
    "Payment",
    "PaymentInput",
    "PaymentParty",
    "PostingRow",
    "ReadingRow",
    "ReceiptBatchRow",
    "SecurityEventRow",
    "SessionRow",
    "SettlementLine",
    "SlotRow",
    "StatementRow",
    "TariffRow",
    "TradeRow",
]
