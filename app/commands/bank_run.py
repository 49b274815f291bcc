"""What the commands of ``wattloom bank`` do once a house is open, and how they say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import NoReturn

import typer

from app.bankfiles.amounts import Decimal, euros
from app.bankfiles.errors import BankFileError
from app.bankfiles.identifiers import grouped
from app.commands import shared
from app.commands.shared import show_json, show_table
from app.services import bank_import, bank_payouts, bank_reconcile, bank_suspense
from app.services.bank_account import own_account, reference
from app.services.bank_desk import movements_csv
from app.services.bank_errors import AskedError, BankError
from app.services.bank_import import Plan
from app.services.bank_payouts import shown_target
from app.services.house import House
from app.services.treasury import TreasuryError
from app.store import bank, people
from ledger_client.ledger import LedgerError

_REFUSED = (BankError, BankFileError, TreasuryError, LedgerError)
_EUROS = ("euros",)
_ALL = 100_000


def run(settings: Path | None, data: Path | None, action: Callable[[House], int]) -> NoReturn:
    """Run a command of ``wattloom bank``: see :func:`app.commands.shared.run`."""
    shared.run("bank", settings, data, action, *_REFUSED)


def import_file(
    house: House, file: Path, decimal: Decimal | None, *, dry: bool, as_json: bool
) -> int:
    """Show what a statement file would change, and book it unless ``dry``."""
    content = file.read_bytes()
    if dry:
        statements = bank_import.read_statements(content, decimal)
        with house.database.read() as session:
            plan = bank_import.plan(session, house, file.name, statements)
    else:
        plan = bank_import.take(house, file.name, content, decimal)
    rows = [
        {
            "ref": each.ref,
            "day": each.day,
            "micro": each.transaction.micro,
            "state": each.state,
            "participant": each.participant,
            "payout": each.payout,
            "statement": each.statement,
            "name": each.transaction.name,
            "text": each.transaction.remittance,
            "note": each.note,
        }
        for each in plan.movements
    ]
    if as_json:
        show_json({"booked": not dry, "known_entries": plan.known, "movements": rows})
        return 0
    show_table(
        ("ref", "day", "euros", "becomes", "from or to", "text"),
        [
            (
                each.ref,
                each.day,
                euros(each.transaction.micro),
                " ".join(filter(None, (each.state, each.statement, each.participant, each.note))),
                each.transaction.name,
                each.transaction.remittance,
            )
            for each in plan.movements
        ],
        right=_EUROS,
    )
    typer.echo(_said(plan, dry=dry), err=True)
    return 0


def _said(plan: Plan, *, dry: bool) -> str:
    waiting = sum(each.state == "open" for each in plan.movements)
    done = "would be booked" if dry else "booked"
    return (
        f"{len(plan.movements)} movements {done}, {waiting} of them to be assigned; "
        f"{plan.known} entries were known already"
    )


def list_references(house: House, *, as_json: bool) -> int:
    """Print every participant's payment reference, and where to pay to."""
    with house.database.read() as session:
        account = own_account(session, house.settings)
        rows = [
            (row.id, row.name, grouped(reference(house.settings, row.id)))
            for row in people.participants(session).values()
        ]
    iban = account.iban if account else ""
    names = ("participant", "name", "reference")
    if as_json:
        show_json(
            {"iban": iban, "references": [dict(zip(names, row, strict=True)) for row in rows]}
        )
        return 0
    show_table(names, rows)
    typer.echo(f"to be paid to {grouped(iban)}" if iban else "no bank_iban is set", err=True)
    return 0


def list_open(house: House, *, as_json: bool) -> int:
    """Print the movements that wait for a person."""
    with house.database.read() as session:
        rows = bank.movements(session, "open", limit=_ALL)
    if as_json:
        show_json(
            [
                {"ref": row.ref, "day": day, "micro": row.micro, "name": row.name}
                | {"iban": row.iban, "text": row.remittance, "note": row.note}
                for row, day in rows
            ]
        )
        return 0
    show_table(
        ("ref", "day", "euros", "from or to", "text", "why"),
        [(row.ref, day, euros(row.micro), row.name, row.remittance, row.note) for row, day in rows],
        right=_EUROS,
    )
    typer.echo(f"{len(rows)} movements to be assigned", err=True)
    return 0


def assign_credit(house: House, ref: str, whose: str) -> int:
    """Give a credit to a participant, or to a statement."""
    bank_suspense.assign_to(house, ref, whose)
    typer.echo(f"{ref} is assigned to {whose}", err=True)
    return 0


def book_charge(house: House, ref: str, note: str) -> int:
    """Book a movement as the district's own."""
    bank_suspense.charge(house, ref, note)
    typer.echo(f"{ref} is the district's own: {note}", err=True)
    return 0


def return_credit(house: House, ref: str) -> int:
    """Send a credit back."""
    payout = bank_payouts.send_back(house, ref)
    typer.echo(f"{ref} goes back with the next export, as {payout}", err=True)
    return 0


def list_withdrawals(house: House, state: str | None, *, as_json: bool) -> int:
    """Print payouts, newest first."""
    with house.database.read() as session:
        rows = bank.payouts(session, *([state] if state else []), limit=_ALL)
    if as_json:
        show_json(
            [
                {"ref": row.ref, "kind": row.kind, "state": row.state, "micro": row.micro}
                | {"participant": row.participant, "name": row.name, "target": row.target}
                | {"reason": row.reason, "asked_ms": row.asked_ms}
                for row in rows
            ]
        )
        return 0
    show_table(
        ("ref", "state", "euros", "participant", "to"),
        [
            (
                row.ref,
                row.state,
                euros(row.micro),
                row.participant or "(sent back)",
                f"{row.name}, {shown_target(row)}",
            )
            for row in rows
        ],
        right=_EUROS,
    )
    typer.echo(f"{len(rows)} withdrawals", err=True)
    return 0


def approve_payouts(house: House, refs: Sequence[str]) -> int:
    """Approve withdrawals one by one; the first that cannot be stops."""
    for ref in refs:
        bank_payouts.approve(house, ref)
        typer.echo(f"{ref} is approved", err=True)
    return 0


def reject_payout(house: House, ref: str, reason: str) -> int:
    """Refuse a withdrawal."""
    bank_payouts.reject(house, ref, reason)
    typer.echo(f"{ref} is rejected; the money is back", err=True)
    return 0


def payout_refused(house: House, ref: str, reason: str) -> int:
    """Take an exported payment back."""
    bank_payouts.refused_by_bank(house, ref, reason)
    typer.echo(f"{ref} was not paid by the bank; the money is back", err=True)
    return 0


def export_payments(house: House, out: Path, message: str | None) -> int:
    """Write the approved payments, or an earlier file again.

    The file is stored in the commit that marks its payments: if it cannot be written here, the
    same one can be written again, and nothing is paid twice.
    """
    if not out.parent.is_dir() or out.is_dir():
        raise AskedError(f"{out} cannot be written: name a file in a folder that exists")
    if message is not None:
        content = bank_payouts.exported_file(house, message)
        _write_export(out, content, message)
        typer.echo(f"{out} holds the message {message} again: a bank takes it once", err=True)
        return 0
    made, waiting = bank_payouts.export(house)
    if made is not None:
        _write_export(out, made.content, made.message_id)
        typer.echo(
            f"{made.payments} payments, {euros(made.micro)} euros, message {made.message_id}, "
            f"in {out}",
            err=True,
        )
    else:
        typer.echo(f"no approved payment is ready; {out} is not written", err=True)
    if waiting:
        typer.echo(f"{waiting} wait for the ledger to confirm that they are collected", err=True)
    return 0


def _write_export(out: Path, content: bytes, message: str) -> None:
    try:
        out.write_bytes(content)
    except OSError as error:
        raise AskedError(
            f"cannot write {out} ({error.strerror}); the payments are exported: write their file "
            f"with wattloom bank export --message {message}"
        ) from error


def write_movements(house: House, out: Path) -> int:
    """Write every movement of the account as CSV."""
    with house.database.read() as session:
        rows = bank.movements(session, limit=_ALL)
    out.write_bytes(movements_csv(rows))
    typer.echo(f"{len(rows)} movements in {out}", err=True)
    return 0


def reconcile_day(house: House, day: str | None, *, as_json: bool) -> int:
    """Print the reconciliation; return 1 if a difference has no name."""
    try:
        chosen = date.fromisoformat(day) if day else None
    except ValueError:
        raise AskedError(f"{day!r} is no day such as 2026-06-24", "date") from None
    found = bank_reconcile.reconcile(house, chosen)
    if as_json:
        show_json(
            {
                "date": found.day,
                "statement": found.statement,
                "agrees": found.agrees,
                "lines_micro": {line.key: line.micro for line in found.lines},
                "reasons": list(found.reasons),
            }
        )
    else:
        show_table(
            ("", "euros"),
            [
                (f"= {line.text}" if line.total else line.text, euros(line.micro))
                for line in found.lines
            ],
            right=_EUROS,
        )
        statement = f"statement {found.statement}" if found.statement else "no statement yet"
        typer.echo(f"{found.day}, {statement}", err=True)
        for reason in found.reasons:
            typer.echo(f"wattloom bank: unexplained: {reason}", err=True)
    return 0 if found.agrees else 1
