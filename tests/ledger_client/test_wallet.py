"""Key derivation against SLIP-10's vectors, coin selection, and signed transfers."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from ledger_client.ledger import UnspentOutput
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import blake2b_256
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.signature import is_valid_signature
from ledger_client.stardust.transaction import (
    ReferenceUnlock,
    SignatureUnlock,
    TaggedData,
    Transaction,
)
from ledger_client.wallet import (
    InsufficientFundsError,
    OwnerKey,
    TransferInput,
    UnbalancedTransferError,
    Wallet,
    WalletKeyError,
    build_transfer,
    derive_slip10,
    select,
)

NETWORK = "wattloom-private"
WALLET = Wallet(bytes(range(64)))
A, B = WALLET.key(0), WALLET.key(1)


class TestKeys:
    @pytest.mark.parametrize(
        ("path", "chain", "private", "public"),
        [
            (
                (),
                "90046a93de5380a72b5e45010748567d5ea02bbf6522f979e05c0d8d8ca9fffb",
                "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
                "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed",
            ),
            (
                (0,),
                "8b59aa11380b624e81507a27fedda59fea6d0b779a778918a2fd3590e16e9c69",
                "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
                "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c",
            ),
            (
                (0, 1, 2, 2, 1_000_000_000),
                "68789923a0cac2cd5a29172a475fe9e0fb14cd6adb5ad98a3fa70333e7afa230",
                "8f94d394a8e8fd6b1bc2f3f49f5c47e385281d5c17e65324b0f62483e37e8793",
                "3c24da049451555d51a7014a37337aa4e12d41e485abccfa46b47dfb2af54b7a",
            ),
        ],
    )
    def test_the_first_vector_of_slip_10(
        self, path: tuple[int, ...], chain: str, private: str, public: str
    ) -> None:
        key, code = derive_slip10(bytes(range(16)), path)
        assert (key.hex(), code.hex()) == (private, chain)
        assert bytes(SigningKey(key).verify_key).hex() == public

    @pytest.mark.parametrize(
        ("account", "index", "text"),
        [
            (0, 0, "wl1qpd69zqjxlyqym63sxg33jqnz6xydq7d8pqapa2r649n70a9y4pdqfql4m4"),
            (1, 0, "wl1qpxxcpcns8tt5j3s36z0528m6q25jy4s5n73l3zshfy3x83tsy5j2jh3x3w"),
            (1, 1, "wl1qz7dswrzy9jjy7w9ees6fs3lps5fazhpe7535t2rh6er80xhw7n9xes85w7"),
        ],
    )
    def test_addresses_are_those_of_the_official_client(
        self, account: int, index: int, text: str
    ) -> None:
        assert encode_address_text("wl", WALLET.key(account, index).address) == text

    @pytest.mark.parametrize(("seed", "path"), [(15, ()), (65, ()), (16, (-1,)), (16, (2**31,))])
    def test_an_unusable_seed_or_path_is_refused(self, seed: int, path: tuple[int, ...]) -> None:
        with pytest.raises(WalletKeyError):
            derive_slip10(bytes(seed), path)

    def test_secrets_do_not_show(self) -> None:
        key, _ = derive_slip10(WALLET.seed, (44, 4218, 0, 0, 0))
        shown = f"{WALLET!r} {A!r}"
        assert WALLET.seed.hex() not in shown
        assert "seed" not in shown
        assert key.hex() not in shown


def _output(units: int, owner: OwnerKey = A, number: int = 0) -> UnspentOutput:
    identifier = blake2b_256(number.to_bytes(4, "big")) + b"\x00\x00"
    return UnspentOutput(identifier, BasicOutput.to(owner.address, units).encode(), units)


class TestSelection:
    @pytest.mark.parametrize(
        ("held", "need", "chosen"),
        [
            ([500], 0, [500]),
            ([500], 500, [500]),
            ([100, 500, 40], 300, [500, 40]),
            ([100, 500, 40], 550, [500, 100]),
            ([40, 50, 60, 70], 0, [40, 50]),
            ([], 0, []),
        ],
    )
    def test_large_ones_pay_and_small_ones_are_swept(
        self, held: list[int], need: int, chosen: list[int]
    ) -> None:
        outputs = [_output(units, number=n) for n, units in enumerate(held)]
        assert [output.units for output in select(outputs, need)] == chosen

    @pytest.mark.parametrize(("held", "need", "available"), [([], 1, 0), ([30, 30, 30], 61, 60)])
    def test_what_two_inputs_cannot_cover_is_said(
        self, held: list[int], need: int, available: int
    ) -> None:
        outputs = [_output(units, number=n) for n, units in enumerate(held)]
        with pytest.raises(InsufficientFundsError) as caught:
            select(outputs, need)
        assert (caught.value.need_units, caught.value.available_units) == (need, available)

    @given(st.lists(st.integers(1, 99), max_size=7), st.integers(0, 300), st.randoms())
    def test_a_choice_covers_the_need_whatever_the_order(
        self, held: list[int], need: int, random: Random
    ) -> None:
        outputs = [_output(units, number=n) for n, units in enumerate(held)]
        shuffled = list(outputs)
        random.shuffle(shuffled)
        if sum(sorted(held)[-2:]) < need:
            with pytest.raises(InsufficientFundsError):
                select(outputs, need)
            return
        chosen = select(outputs, need)
        assert chosen == select(shuffled, need)
        assert sum(output.units for output in chosen) >= need
        assert len(set(chosen)) == len(chosen) == min(2, len(held))


class TestTransfers:
    def _inputs(self) -> list[TransferInput]:
        owners = [A, B, A]
        made = (
            UnspentOutput(
                blake2b_256(bytes([n])) + bytes([n, 0]),
                BasicOutput.to(owner.address, 1000).encode(),
                1000,
            )
            for n, owner in enumerate(owners)
        )
        return [TransferInput(item, owner) for item, owner in zip(made, owners, strict=True)]

    def test_a_transfer_has_the_id_that_the_official_client_computes(self) -> None:
        data = TaggedData(b"wattloom-pay-v1", bytes(34))
        outputs = [(A.address, 2966), (B.address, 34)]
        signed = build_transfer(NETWORK, self._inputs(), outputs, data)
        known = "fe4a1e5e3b9042f8e7f3c8664f73f22cccd251083fdf6bc2750d7caf10a663ed"
        assert signed.transaction_id.hex() == known
        assert signed == build_transfer(NETWORK, self._inputs(), outputs, data)
        block = Block((bytes(32),), Transaction.decode(signed.payload))
        known = "ec9ef3aa20ef7ac988bb57d78f3945d39ac5e9d0fc1a3d1ef9899233ade821bc"
        assert block.id().hex() == known

    def test_each_owner_signs_once(self) -> None:
        signed = build_transfer(NETWORK, self._inputs(), [(B.address, 3000)])
        built = Transaction.decode(signed.payload)
        first, second, third = built.unlocks
        assert isinstance(first, SignatureUnlock)
        assert isinstance(second, SignatureUnlock)
        assert third == ReferenceUnlock(0)
        digest = built.essence.signing_hash()
        for unlock, key in ((first, A), (second, B)):
            assert unlock.public_key == key.public_key
            assert is_valid_signature(key.public_key, digest, unlock.signature)

    @pytest.mark.parametrize("amounts", [(2999,), (3001,), (2967, 33), (), (3000, 0)], ids=str)
    def test_amounts_that_the_ledger_would_refuse(self, amounts: tuple[int, ...]) -> None:
        with pytest.raises(UnbalancedTransferError):
            build_transfer(NETWORK, self._inputs(), [(B.address, units) for units in amounts])

    def test_an_input_of_another_owner_is_refused(self) -> None:
        stolen = TransferInput(_output(1000, owner=A), B)
        with pytest.raises(WalletKeyError):
            build_transfer(NETWORK, [stolen], [(B.address, 1000)])

    def test_units_that_the_output_does_not_hold_are_refused(self) -> None:
        inflated = dataclasses.replace(_output(1000), units=2000)
        with pytest.raises(UnbalancedTransferError):
            build_transfer(NETWORK, [TransferInput(inflated, A)], [(B.address, 2000)])

    def test_sixty_one_parties_fit_into_one_transaction(self) -> None:
        keys = [WALLET.key(n) for n in range(61)]
        inputs = [
            TransferInput(_output(1000, key, number=2 * n + part), key)
            for n, key in enumerate(keys)
            for part in range(2)
        ]
        signed = build_transfer(NETWORK, inputs, [(key.address, 2000) for key in keys])
        assert len(Block((bytes(32),), Transaction.decode(signed.payload)).encode()) < 16_384
