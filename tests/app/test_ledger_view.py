"""Who sees what of the ledger, over a district that really pays and anchors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.services import ledger_trace
from app.services.founding import treasury_address
from app.services.ledger_view import LedgerExplorer
from app.tables import CheckpointRow, OwnAddressRow, ParticipantRow, Payment
from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode.reader import LocalReader
from ledger_client.reader import NetworkRecord
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.stardust.transaction import TaggedData
from ledger_client.verify import PAY_TAG, anchor_tag
from ledger_client.wallet import TransferInput, Wallet, build_transfer
from tests.app.district_kit import TOP_UP, Kit
from web.ports import NotFoundError, Role, Viewer
from web.ports.ledger import BlockKind, BlockState, LedgerSilentError

FLAT = Viewer(Role.PROSUMER, "flat", "t")
SOLAR = Viewer(Role.PROSUMER, "solar", "t")
MANAGER = Viewer(Role.MANAGER, None, "t")
OPERATOR = Viewer(Role.OPERATOR, None, "t")
EVERYBODY = (FLAT, SOLAR, MANAGER, OPERATOR)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """Two quarter-hours in which solar sold to flat and shop; read only."""
    folder = tmp_path_factory.mktemp("ledger-view")
    kit = Kit(folder, f"sqlite:///{folder / 'd.db'}")
    kit.house = replace(kit.house, reader=LocalReader(kit.node))
    for _ in range(2):
        kit.live(solar=(0, 900), flat=(300, 0), shop=(200, 0))
    yield kit
    kit.close()


@pytest.fixture(scope="module")
def explorer(kit: Kit) -> LedgerExplorer:
    return explorer_of(kit)


def explorer_of(kit: Kit) -> LedgerExplorer:
    return LedgerExplorer(kit.house, frozenset({"shop"}), kit.views().keys_file)


def key_of(kit: Kit, number: int) -> str:
    return str(kit.rows(CheckpointRow)[number].block_id)


def settling(kit: Kit) -> Payment:
    """The first payment between neighbours."""
    (first, *_) = [row for row in kit.rows(Payment) if row.interval]
    assert isinstance(first, Payment)
    return first


def carrier(kit: Kit, explorer: LedgerExplorer, payment: Payment) -> str:
    found = explorer.find(MANAGER, str(payment.transaction_id))
    assert found is not None
    return found.removeprefix("blocks/")


def address_text(kit: Kit, participant: str) -> str:
    (row,) = kit.rows(ParticipantRow, ParticipantRow.id == participant)
    return encode_address_text(kit.settings.hrp, bytes.fromhex(row.address))


# --- The whole -----------------------------------------------------------------------------------


def test_the_overview_is_everybodys_but_its_amount(kit: Kit, explorer: LedgerExplorer) -> None:
    for viewer in EVERYBODY:
        page = explorer.overview(viewer, None, 3)
        assert page.network == kit.settings.network
        assert [line.index for line in page.milestones] == [page.latest.index - n for n in range(3)]
        assert page.more
        assert page.blocks == kit.node.stats().blocks
        assert (page.supply_micro is None) == (viewer is OPERATOR)
        assert {line.kind for line in page.dag.blocks} == {
            BlockKind.MILESTONE,
            BlockKind.ANCHOR,
            BlockKind.PAYMENT,
        }
    last = explorer.overview(FLAT, 2, 3)
    assert [line.index for line in last.milestones] == [1]
    assert not last.more


def test_a_milestone_is_signed_by_pinned_keys(kit: Kit, explorer: LedgerExplorer) -> None:
    latest = kit.node.latest_milestone()
    page = explorer.milestone(OPERATOR, latest.index)
    assert page.block_id == latest.block_id.hex()
    assert all(signer.holds and signer.pinned for signer in page.signers)
    assert len(page.signers) >= page.threshold
    assert not page.has_next
    confirmed = {line.block_id for line in page.cone.blocks}
    ids = kit.node.store.referenced_ids(latest.index, applied_only=False)
    assert confirmed == {item.hex() for item in ids}


# --- A payment -----------------------------------------------------------------------------------


def test_a_payment_shows_each_their_own(kit: Kit, explorer: LedgerExplorer) -> None:
    payment = settling(kit)
    block = carrier(kit, explorer, payment)
    everything = explorer.block(MANAGER, block).transaction
    assert everything is not None
    assert (everything.hidden_inputs, everything.hidden_outputs) == (0, 0)
    assert sum(coin.micro or 0 for coin in everything.inputs) == sum(
        coin.micro or 0 for coin in everything.outputs
    )
    names = {coin.owner for coin in (*everything.inputs, *everything.outputs)}
    assert names <= {None, "Shop", "the treasury"}  # those whose pages the manager opens
    assert "Shop" in names
    mine = explorer.block(FLAT, block).transaction
    assert mine is not None
    assert {coin.address for coin in (*mine.inputs, *mine.outputs)} == {address_text(kit, "flat")}
    assert all(coin.own and coin.owner == "Flat" for coin in (*mine.inputs, *mine.outputs))
    assert mine.hidden_inputs == len(everything.inputs) - len(mine.inputs) > 0
    assert mine.hidden_outputs == len(everything.outputs) - len(mine.outputs) > 0
    blind = explorer.block(OPERATOR, block).transaction
    assert blind is not None
    assert (blind.inputs, blind.outputs, blind.amounts_hidden) == ([], [], True)
    assert blind.hidden_inputs == len(everything.inputs)


def test_a_payment_leads_to_its_interval(kit: Kit, explorer: LedgerExplorer) -> None:
    payment = settling(kit)
    for viewer in EVERYBODY:
        page = explorer.block(viewer, carrier(kit, explorer, payment))
        assert page.line.kind is BlockKind.PAYMENT
        assert page.line.state is BlockState.CONFIRMED
        assert page.interval == payment.interval
        assert page.data is not None
        assert page.data.tag_text == "wattloom-pay-v1"


def test_the_first_top_up_settles_no_interval(kit: Kit, explorer: LedgerExplorer) -> None:
    (top_up, *_) = [row for row in kit.rows(Payment) if not row.interval]
    page = explorer.block(MANAGER, carrier(kit, explorer, top_up))
    assert page.interval is None


# --- An anchor -----------------------------------------------------------------------------------


def test_an_anchor_leads_to_the_intervals_that_it_seals_and_back(
    kit: Kit, explorer: LedgerExplorer
) -> None:
    anchored = []
    for number in range(len(kit.rows(CheckpointRow))):
        block_id = key_of(kit, number)
        for viewer in EVERYBODY:
            page = explorer.block(viewer, block_id)
            assert page.line.kind is BlockKind.ANCHOR
            assert page.anchor is not None
            assert page.anchor.genuine
            assert page.anchor.note.startswith(kit.settings.origin)
        anchored += [(key, block_id) for key in page.anchor.intervals]
    assert len(anchored) == 2
    for key, block_id in anchored:
        found = kit.ask(lambda session, key=key: ledger_trace.trace(session, key))
        assert found.anchor_block == block_id
        (transaction,) = found.transactions
        assert explorer.find(FLAT, transaction)


def test_the_pages_of_the_house_carry_the_way_to_the_ledger(kit: Kit) -> None:
    views = kit.views("shop")
    payment = settling(kit)
    assert payment.interval is not None
    interval = views.interval(FLAT, payment.interval)
    assert interval.trace.transactions == (payment.transaction_id,)
    lines = views.participant(FLAT, "flat").quarters
    assert interval.trace in [line.trace for line in lines]


def test_a_block_with_our_tag_that_is_not_ours_is_data(kit: Kit, explorer: LedgerExplorer) -> None:
    for content in (b"nonsense", b'{"note":"x","previous":null}'):
        forged = kit.node.submit(TaggedData(anchor_tag(kit.settings.origin), content))
        page = explorer.block(FLAT, forged.hex())
        assert page.line.kind is BlockKind.DATA
        assert page.line.state is BlockState.PENDING
        assert page.anchor is not None
        assert not page.anchor.genuine


# --- Addresses -----------------------------------------------------------------------------------


def test_an_address_is_its_owners_and_the_managers(kit: Kit, explorer: LedgerExplorer) -> None:
    text = address_text(kit, "flat")
    mine = explorer.address(FLAT, text)
    assert mine.own
    assert mine.balance_micro == sum(coin.micro or 0 for coin in mine.unspent)
    assert 0 < mine.balance_micro < TOP_UP  # it bought
    assert mine.spent
    seen = explorer.address(MANAGER, text)
    assert (seen.balance_micro, seen.own, seen.owner) == (mine.balance_micro, False, None)
    for viewer in (SOLAR, OPERATOR):
        with pytest.raises(NotFoundError):
            explorer.address(viewer, text)
        assert explorer.find(viewer, text) is None
    assert explorer.find(FLAT, f" {text} ") == f"addresses/{text}"
    assert explorer.find(FLAT, text.upper()) == f"addresses/{text}"


@pytest.mark.parametrize("text", ["", "x", "wl1", "iota1qqqq", "wl1" + "q" * 80, "ü" * 9])
def test_junk_is_no_address(explorer: LedgerExplorer, text: str) -> None:
    for viewer in EVERYBODY:
        with pytest.raises(NotFoundError):
            explorer.address(viewer, text)
        assert explorer.find(viewer, text) is None


def test_naming_anothers_address_as_ones_own_shows_nothing(tmp_path: Path) -> None:
    kit = Kit(tmp_path, f"sqlite:///{tmp_path / 'd.db'}")
    kit.house = replace(kit.house, reader=LocalReader(kit.node))
    kit.live(solar=(0, 900), flat=(300, 0))
    explorer = explorer_of(kit)
    outside = Wallet(b"\x09" * 32).key(0)
    stolen = {
        "flat": bytes.fromhex(kit.rows(ParticipantRow, ParticipantRow.id == "flat")[0].address),
        "treasury": treasury_address(kit.keyring),
    }
    with kit.database.write() as session:
        for address in (*stolen.values(), outside.address):
            session.add(OwnAddressRow(participant="solar", address=address.hex(), from_ms=0))
    texts = {
        name: encode_address_text(kit.settings.hrp, address) for name, address in stolen.items()
    }
    for text in texts.values():
        with pytest.raises(NotFoundError):
            explorer.address(SOLAR, text)
    own = encode_address_text(kit.settings.hrp, outside.address)
    assert explorer.address(SOLAR, own).own
    with kit.database.write() as session:
        session.add(OwnAddressRow(participant="flat", address=outside.address.hex(), from_ms=0))
    with pytest.raises(NotFoundError):
        explorer.address(SOLAR, own)
    kit.close()


# --- Search --------------------------------------------------------------------------------------


def test_every_kind_of_id_is_found(kit: Kit, explorer: LedgerExplorer) -> None:
    payment = settling(kit)
    block = carrier(kit, explorer, payment)
    milestone = kit.node.latest_milestone()
    output = f"{payment.transaction_id}0000"
    wanted = {
        block: f"blocks/{block}",
        f"0x{block}": f"blocks/{block}",
        f"0X{block.upper()}": f"blocks/{block}",
        str(payment.transaction_id): f"blocks/{block}",
        output: f"blocks/{block}",
        milestone.milestone_id.hex(): f"milestones/{milestone.index}",
        str(milestone.index): f"milestones/{milestone.index}",
        f"  {milestone.index}\n": f"milestones/{milestone.index}",
    }
    for viewer in EVERYBODY:
        assert {text: explorer.find(viewer, text) for text in wanted} == wanted


@pytest.mark.parametrize(
    "text",
    ["0", "9999999999", "99999999999", "ab" * 32, "ab" * 34, "0" * 64, "0" * 68, "0x", "\x00", "٣"],
)
def test_what_is_not_there_is_not_found(explorer: LedgerExplorer, text: str) -> None:
    for viewer in EVERYBODY:
        assert explorer.find(viewer, text) is None


def test_unknown_blocks_and_milestones_are_not_there(explorer: LedgerExplorer) -> None:
    for viewer in EVERYBODY:
        with pytest.raises(NotFoundError):
            explorer.block(viewer, "ab" * 32)
        for index in (0, 10**6, 2**32, 2**40):
            with pytest.raises(NotFoundError):
                explorer.milestone(viewer, index)


# --- What may name people ------------------------------------------------------------------------


def test_a_transfers_data_is_the_managers_alone(tmp_path: Path) -> None:
    kit = Kit(tmp_path, f"sqlite:///{tmp_path / 'd.db'}")
    kit.house = replace(kit.house, reader=LocalReader(kit.node))
    explorer = explorer_of(kit)
    treasury = Wallet(kit.keyring.wallet_seed).key(0)
    (coin,) = kit.node.store.unspent_of(treasury.address)
    found = kit.ledger.balance(treasury.address).outputs
    assert [item.output_id for item in found] == [coin.output_id]
    outputs = [(Wallet(b"\x09" * 32).key(0).address, 1_000), (treasury.address, coin.units - 1_000)]

    def attach(tag: bytes) -> str:
        data = TaggedData(tag, b"account DE02 1203 of Ms Weber")
        made = build_transfer(
            kit.settings.network, [TransferInput(found[0], treasury)], outputs, data
        )
        kit.ledger.transfer(made.payload)
        found_at = explorer.find(MANAGER, made.transaction_id.hex())
        assert found_at
        return found_at.removeprefix("blocks/")

    private, public = attach(b"withdrawal"), attach(PAY_TAG)
    assert explorer.block(MANAGER, private).data is not None
    assert explorer.block(FLAT, private).data is None
    assert explorer.block(OPERATOR, private).data is None
    assert explorer.block(FLAT, public).data is not None
    kit.node.issue_milestone()
    states = {explorer.block(FLAT, block).line.state for block in (private, public)}
    assert states == {BlockState.CONFIRMED, BlockState.CONFLICTING}
    kit.close()


# --- A ledger that is silent ---------------------------------------------------------------------


class DeafReader(LocalReader):
    """Does not answer while it is ``deaf``, and counts how often it was asked."""

    deaf = True
    asked = 0

    def network(self) -> NetworkRecord:
        self.asked += 1
        if self.deaf:
            raise LedgerUnavailableError("nobody answers")
        return super().network()


def test_a_silent_ledger_is_said_and_not_asked_over_and_over(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = DeafReader(kit.node)
    explorer = LedgerExplorer(replace(kit.house, reader=deaf), frozenset(), kit.views().keys_file)
    since = set()
    for _ in range(5):
        with pytest.raises(LedgerSilentError) as silent:
            explorer.overview(FLAT, None, 3)
        since.add(silent.value.since_ms)
    assert deaf.asked == 1
    assert len(since) == 1
    assert None not in since
    with pytest.raises(LedgerSilentError):
        explorer.milestone(FLAT, 1)
    deaf.deaf = False
    monkeypatch.setattr(explorer, "_silent_until_s", 0.0)  # the pause is over
    assert explorer.overview(FLAT, None, 3).latest.index >= 1


def test_without_a_reader_the_pages_say_so(kit: Kit) -> None:
    explorer = LedgerExplorer(replace(kit.house, reader=None), frozenset(), kit.views().keys_file)
    with pytest.raises(LedgerSilentError) as silent:
        explorer.overview(MANAGER, None, 3)
    assert silent.value.since_ms is None
