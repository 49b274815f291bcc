"""The tables (SQLModel). Integers carry their unit in the column name; time is UTC milliseconds."""

from app.tables.accounting import (
    AccountMonthRow,
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
from app.tables.certificates import (
    CertificateDebtRow,
    CertificateEventRow,
    CertificateMonthRow,
    CertificateOriginRow,
    CertificateRow,
    CertifiedRow,
    ForeignDeviceRow,
    StorageRecordRow,
)
from app.tables.changes import MeterChangeRow
from app.tables.commissioning import EnrolmentRequestRow, EnrolmentTokenRow
from app.tables.corrections import RefusedCorrectionRow, ValueFileRow
from app.tables.district import (
    DistrictRow,
    EnrolmentRow,
    MeteringPointRow,
    NoticeRow,
    ParticipantRow,
    SessionRow,
    TariffRow,
)
from app.tables.events import GatewayEventRow
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
from app.tables.ocmf import BeaconRow, OcmfKeyRow, OcmfRecordRow
from app.tables.readings import (
    EvidenceRow,
    GatewayRow,
    ReadingRow,
    ReceiptBatchRow,
    SecurityEventRow,
)
from app.tables.registry import (
    BalancePartyRow,
    BuildingRow,
    DeviceRow,
    FeederRow,
    LinkRow,
    SupplierRow,
)
from app.tables.retention import ErasureRow, ErasureSpanRow, RemovedRow, RetentionRow
from app.tables.settled import (
    BillLineRow,
    LossRow,
    ProductionRollupRow,
    RollupRow,
    SettledRow,
)
from app.tables.sharing import SharingMemberRow, SharingVersionRow
from app.tables.statements import (
    DisputeRow,
    MonthlyStatementRow,
    StatementPaymentRow,
    StatementRunRow,
)
from app.tables.tariffs import PriceRow, TariffVersionRow
from app.tables.transparency import CosignatureRow
from app.tables.wallets import (
    AddressRow,
    CoinRow,
    OwnAddressRow,
    PaymentMove,
    WithdrawalRow,
)

__all__ = [
    "AccountMonthRow",
    "AddressRow",
    "BalancePartyRow",
    "BankEntryRow",
    "BankExportRow",
    "BankFileRow",
    "BankMovementRow",
    "BankPayoutRow",
    "BankStatementRow",
    "BeaconRow",
    "BillLineRow",
    "BuildingRow",
    "CertificateDebtRow",
    "CertificateEventRow",
    "CertificateMonthRow",
    "CertificateOriginRow",
    "CertificateRow",
    "CertifiedRow",
    "CheckpointRow",
    "CoinRow",
    "ContractRow",
    "CorrectionRow",
    "CosignatureRow",
    "DeviceRow",
    "DisputeRow",
    "DistrictRow",
    "EnrolmentRequestRow",
    "EnrolmentRow",
    "EnrolmentTokenRow",
    "ErasureRow",
    "ErasureSpanRow",
    "EvidenceRow",
    "ExpectedPriceRow",
    "FeederRow",
    "ForecastRow",
    "ForecastRunRow",
    "ForecastScoreRow",
    "ForeignDeviceRow",
    "ForwardFillRow",
    "ForwardOrderRow",
    "ForwardPriceRow",
    "ForwardResultRow",
    "ForwardSessionRow",
    "ForwardStandingRow",
    "ForwardTradeRow",
    "GatewayEventRow",
    "GatewayRow",
    "InstructionRow",
    "IntervalRow",
    "JournalEntry",
    "LinkRow",
    "LogEntryRow",
    "LogNodeRow",
    "LossRow",
    "MeterChangeRow",
    "MeteringPointRow",
    "MonthlyStatementRow",
    "NoticeRow",
    "OcmfKeyRow",
    "OcmfRecordRow",
    "OrderRow",
    "OwnAddressRow",
    "ParticipantRow",
    "Payment",
    "PaymentInput",
    "PaymentMove",
    "PaymentParty",
    "PostingRow",
    "PriceRow",
    "ProductionRollupRow",
    "ReadingRow",
    "ReceiptBatchRow",
    "RefusedCorrectionRow",
    "RemovedRow",
    "RetentionRow",
    "RollupRow",
    "SecurityEventRow",
    "SessionRow",
    "SettledRow",
    "SettlementLine",
    "SharingMemberRow",
    "SharingVersionRow",
    "SlotRow",
    "StatementPaymentRow",
    "StatementRow",
    "StatementRunRow",
    "StorageRecordRow",
    "SupplierRow",
    "TariffRow",
    "TariffVersionRow",
    "TradeRow",
    "ValueFileRow",
    "WithdrawalRow",
]
