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
from app.tables.agents import ContractRow, InstructionRow
from app.tables.bank import (
    BankEntryRow,
    BankExportRow,
    BankFileRow,
    BankMovementRow,
    BankPayoutRow,
    BankStatementRow,
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
from app.tables.forecasts import (
    ExpectedPriceRow,
    ForecastRow,
    ForecastRunRow,
    ForecastScoreRow,
)
from app.tables.forward import (
    ForwardFillRow,
    ForwardOrderRow,
    ForwardPriceRow,
    ForwardResultRow,
    ForwardSessionRow,
    ForwardStandingRow,
    ForwardTradeRow,
)
from app.tables.intervals import CorrectionRow, IntervalRow, OrderRow, SlotRow, TradeRow
from app.tables.readings import (
    EvidenceRow,
    GatewayRow,
    ReadingRow,
    ReceiptBatchRow,
    SecurityEventRow,
)
from app.tables.sharing import SharingMemberRow, SharingVersionRow
from app.tables.transparency import CosignatureRow
from app.tables.wallets import (
    AddressRow,
    CoinRow,
    OwnAddressRow,
    PaymentMove,
    WithdrawalRow,
)

__all__ = [
    "AddressRow",
    "BankEntryRow",
    "BankExportRow",
    "BankFileRow",
    "BankMovementRow",
    "BankPayoutRow",
    "BankStatementRow",
    "CheckpointRow",
    "CoinRow",
    "ContractRow",
    "CorrectionRow",
    "CosignatureRow",
    "DistrictRow",
    "EnrolmentRow",
    "EvidenceRow",
    "ExpectedPriceRow",
    "ForecastRow",
    "ForecastRunRow",
    "ForecastScoreRow",
    "ForwardFillRow",
    "ForwardOrderRow",
    "ForwardPriceRow",
    "ForwardResultRow",
    "ForwardSessionRow",
    "ForwardStandingRow",
    "ForwardTradeRow",
    "GatewayRow",
    "InstructionRow",
    "IntervalRow",
    "JournalEntry",
    "LogEntryRow",
    "LogNodeRow",
    "MeteringPointRow",
    "NoticeRow",
    "OrderRow",
    "OwnAddressRow",
    "ParticipantRow",
    "Payment",
    "PaymentInput",
    "PaymentMove",
    "PaymentParty",
    "PostingRow",
    "ReadingRow",
    "ReceiptBatchRow",
    "SecurityEventRow",
    "SessionRow",
    "SettlementLine",
    "SharingMemberRow",
    "SharingVersionRow",
    "SlotRow",
    "StatementRow",
    "TariffRow",
    "TradeRow",
    "WithdrawalRow",
]
