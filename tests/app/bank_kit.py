"""Bank statements for tests: entries in, camt.053 or CSV out; and what a pain.001 says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from defusedxml.ElementTree import fromstring

from app.bankfiles.amounts import euros
from app.bankfiles.csvfile import COLUMNS
from app.services.bank_account import DEMO_IBAN

PAYER = "DE02120300000000202051"
CENT = 10_000
EURO = 1_000_000


@dataclass(frozen=True)
class Line:
    """One booked entry; several ``parts`` make it a batch."""

    bank_ref: str
    micro: int
    text: str = ""
    end_to_end: str = "NOTPROVIDED"
    day: str = "2026-06-23"
    name: str = "Erika Beispiel"
    iban: str = PAYER
    parts: Sequence[tuple[int, str]] = ()


def camt(
    lines: Sequence[Line],
    *,
    ref: str = "S1",
    opening: int = 0,
    closes: str = "2026-06-23",
    version: str = "08",
    account: str = DEMO_IBAN,
) -> bytes:
    closing = opening + sum(line.micro for line in lines)
    body = statement(lines, ref, (opening, closing), closes, version, account)
    return document(body, version)


def document(body: str, version: str = "08") -> bytes:
    namespace = f"urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Document xmlns="{namespace}"><BkToCstmrStmt>'
        f"<GrpHdr><MsgId>M1</MsgId></GrpHdr>{body}</BkToCstmrStmt></Document>"
    ).encode()


def statement(
    lines: Sequence[Line],
    ref: str,
    balances: tuple[int, int],
    closes: str,
    version: str = "08",
    account: str = DEMO_IBAN,
) -> str:
    opening, closing = (
        f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>{amount(micro)}"
        f"<Dt><Dt>{closes}</Dt></Dt></Bal>"
        for kind, micro in zip(("OPBD", "CLBD"), balances, strict=True)
    )
    entries = "".join(entry(line, version) for line in lines)
    return (
        f"<Stmt><Id>{ref}</Id><Acct><Id><IBAN>{account}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
        f"{opening}{closing}{entries}</Stmt>"
    )


def amount(micro: int) -> str:
    side = "CRDT" if micro >= 0 else "DBIT"
    return f'<Amt Ccy="EUR">{euros(abs(micro))}</Amt><CdtDbtInd>{side}</CdtDbtInd>'


def entry(line: Line, version: str) -> str:
    status = "<Sts><Cd>BOOK</Cd></Sts>" if version >= "04" else "<Sts>BOOK</Sts>"
    parts = line.parts or [(line.micro, line.text)]
    details = "".join(detail(line, micro, text, version) for micro, text in parts)
    return (
        f"<Ntry>{amount(line.micro)}{status}<BookgDt><Dt>{line.day}</Dt></BookgDt>"
        f"<AcctSvcrRef>{line.bank_ref}</AcctSvcrRef><NtryDtls>{details}</NtryDtls></Ntry>"
    )


def detail(line: Line, micro: int, text: str, version: str) -> str:
    role = "Dbtr" if micro > 0 else "Cdtr"
    name = f"<Nm>{escape(line.name)}</Nm>"
    party = f"<Pty>{name}</Pty>" if version >= "08" else name
    total = f'<Amt Ccy="EUR">{euros(abs(micro))}</Amt>'
    money = total if version >= "04" else f"<AmtDtls><TxAmt>{total}</TxAmt></AmtDtls>"
    cut = "".join(f"<Ustrd>{escape(text[at : at + 27])}</Ustrd>" for at in range(0, len(text), 27))
    return (
        f"<TxDtls><Refs><EndToEndId>{line.end_to_end}</EndToEndId></Refs>{money}"
        f"<RltdPties><{role}>{party}</{role}><{role}Acct><Id><IBAN>{line.iban}</IBAN></Id>"
        f"</{role}Acct></RltdPties><RmtInf>{cut}</RmtInf></TxDtls>"
    )


def csv(lines: Sequence[Line], *, separator: str = ";", decimal: str = "comma") -> bytes:
    rows = [list(COLUMNS)]
    for line in lines:
        money = euros(line.micro).replace(".", "," if decimal == "comma" else ".")
        text = line.text if line.end_to_end == "NOTPROVIDED" else f"{line.end_to_end} {line.text}"
        rows.append([line.day, money, "EUR", text, line.name, line.iban, line.bank_ref])
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    quoted[0] = separator.join(COLUMNS)
    return ("\n".join(quoted) + "\n").encode()


@dataclass(frozen=True)
class Payment:
    end_to_end: str
    micro: int
    name: str
    iban: str


def payments_of(content: bytes) -> list[Payment]:
    """What a pain.001 file asks the bank to pay."""
    space = "{urn:iso:std:iso:20022:tech:xsd:pain.001.001.09}"

    def text(at: Element, path: str) -> str:
        found = at.find("/".join(f"{space}{step}" for step in path.split("/")))
        assert found is not None, path
        return found.text or ""

    root: Element = fromstring(content)
    return [
        Payment(
            text(each, "PmtId/EndToEndId"),
            int(text(each, "Amt/InstdAmt").replace(".", "")) * CENT,
            text(each, "Cdtr/Nm"),
            text(each, "CdtrAcct/Id/IBAN"),
        )
        for each in root.iter(f"{space}CdtTrfTxInf")
    ]
