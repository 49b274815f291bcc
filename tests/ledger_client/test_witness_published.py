"""What others published: requests, notes and cosignatures of other makes."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from ledger_client import verify
from ledger_client.verify import COSIGNATURE, NoteLine, key_id, signature_holds
from ledger_client.witness import LogKey
from ledger_client.witness.messages import cosign, write_request
from tests.ledger_client.ledger_bytes import key, public
from tests.ledger_client.witness_kit import NAME, Bench

# A proof of the Sigsum test log at size 17157 with cosignatures of four witnesses of other makes.
SIGSUM_LOG = "4644af2abd40f4895a003bca350f9d5912ab301a49c77f13e5b6d905c20a5fe6"
SIGSUM_BODY = (
    "sigsum.org/v1/tree/4e89cc51651f0d95f3c6127c15e1a42e3ddf7046c5b17b752689c402e773bb4d\n17157\n"
    + b64encode(
        bytes.fromhex("86c07a3959a75a8640dd01c33a62cf4222ef88ace47f706a06905d915e705a3d")
    ).decode()
    + "\n"
)
SIGSUM_SIGNATURE = (
    "fb48647e55d12145b6e3169d33cd167f0c24ce6c002ce794d82edd9e055ad535"
    "d94f4f0e142792194e713561d9040e94a744a73b4afa34b6697fdd8a32a0d509"
)
SIGSUM_TIME_S = 1_765_558_886
SIGSUM_WITNESSES = {
    "636582aec12f32c18a21733db9e3f718058ee7aaec6dbe4eb81781e0f4300c6e": (
        "a1e2f429ecc987ce17a5d471f2165f6166d7c6863293c6dfa4868b7c524be355"
        "9cbb5597279e68a4cd61e56acdb6fb91e4212179693698e4519b82d1cc3e3b01"
    ),
    "dcbf728e02d479f5a7e20dc09adf525833ed6e797526517aeb07fc6854849fc6": (
        "0bd36c6f510e36939758d6b4df06bb90ad332ef2a590ef82a831d50876748387"
        "540891d0e4f77253b396ec57c20f07a33a2dfa644b7b44383000a62924c7e20d"
    ),
    "1c25f8a44c635457e2e391d1efbca7d4c2951a0aef06225a881e46b98962ac6c": (
        "b67271161de5010cae38a210c55e10b89ea07cb233ebba4802b34133d38de149"
        "33d81b40793a4a041bf428a632e48bd7f532f556485bc31580367df4fdae6a08"
    ),
    "ebcdeb78e7fdb2ef9227b2c1ef11e94600b55b4d6d9a57877e31ee89e59adc36": (
        "0870780996726ef5376e739f595c3e5ac1e482648f13a6c2ac215051b1c70730"
        "13470bfd5ba870338776fe9b2bd8bb41ae92fec9fae6b4715cb3c7e21b8fad03"
    ),
}


@pytest.mark.parametrize("witness", SIGSUM_WITNESSES)
def test_others_cosignatures_cover_what_ours_cover(witness: str) -> None:
    """Ed25519 signs a message in one way: what verifies theirs is the message that we sign."""
    message = f"cosignature/v1\ntime {SIGSUM_TIME_S}\n{SIGSUM_BODY}".encode()
    theirs = bytes.fromhex(SIGSUM_WITNESSES[witness])
    assert signature_holds(bytes.fromhex(witness), message, theirs)
    ours = NoteLine.read(cosign(SIGSUM_BODY, NAME, key("witness"), SIGSUM_TIME_S).rstrip("\n"))
    assert ours.signature[:8] == SIGSUM_TIME_S.to_bytes(8, "big")
    assert ours.signature[8:] == key("witness").sign(message).signature


def test_a_checkpoint_of_another_log_is_cosigned(tmp_path: Path) -> None:
    origin = SIGSUM_BODY.partition("\n")[0]
    log = bytes.fromhex(SIGSUM_LOG)
    bench = Bench(tmp_path, [LogKey.parse(f"{origin}={SIGSUM_LOG}")])
    blob = b64encode(key_id(origin, log) + bytes.fromhex(SIGSUM_SIGNATURE)).decode()
    line = bench.add(write_request(0, [], f"{SIGSUM_BODY}\n\u2014 {origin} {blob}\n"))
    found = NoteLine.read(line.rstrip("\n"))
    assert found.is_of(NAME, public("witness"), COSIGNATURE)


def test_the_specifications_example_has_our_form() -> None:
    """c2sp.org/tlog-cosignature: the keys are not published, the form and the time are."""
    example = (
        "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZC"
        "B9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="
    )
    body = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    theirs = NoteLine.read(example)
    ours = NoteLine.read(
        cosign(body, "witness.example.com/w1", key("witness"), 1679315147).rstrip()
    )
    assert theirs.name == ours.name
    assert theirs.signature[:8] == ours.signature[:8]
    assert len(theirs.signature) == len(ours.signature) == 72


def test_the_published_signed_note_opens() -> None:
    """c2sp.org/signed-note: a vkey and the note that it verifies."""
    log = LogKey.parse("any=example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    signed = (
        "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfX"
        "ppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    body, (line,) = verify.split_note(signed)
    assert line.is_of(log.name, log.key, verify.ED25519)
    assert signature_holds(log.key, body.encode(), line.signature)


def test_a_log_may_be_called_otherwise_than_its_origin(tmp_path: Path) -> None:
    """The Go checksum database: key name and origin differ, and the origin has spaces."""
    origin = "go.sum database tree"
    vkey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    bench = Bench(tmp_path, [LogKey.parse(f"{origin}={vkey}")])
    signed = (
        f"{origin}\n35225469\nvt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=\n\n"
        "\u2014 sum.golang.org Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLA"
        "yaKbbTM75QTtPydhKCExixSfwQ=\n"
    )
    bench.add(write_request(0, [], signed))
    latest = bench.keeper.latest(origin)
    assert latest is not None
    assert latest.size == 35225469


# The test log of litewitness, an independent implementation: the same requests, the same answers.
LITE = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
LITE_KEY = "ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f"
LITE_ROOTS = {
    1: "KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    3: "RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=",
    5: "QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=",
}
LITE_SIGNATURES = {
    1: "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUb"
    "IQY=",
    3: "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx"
    "6go=",
    5: "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7s"
    "Dww=",
}
H1, H2, H3, H4 = (f"Kg{letter}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" for letter in "EIMQ")
LITE_STEPS = [
    # old, proof, size, what is changed in the note, status, body
    (0, [], 1, None, 200, None),
    (1, [H1, H2], 3, ("6go=", "6gx="), 400, None),  # 403 there: the base64 is not canonical
    (1, [H1, H2], 3, ("6go=", "6gk="), 403, None),
    (1, [H1, H2], 3, ("309e562", "309e563"), 404, None),
    (1, [], 3, None, 422, None),
    (1, [H1, "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABA="], 3, None, 422, None),
    (1, [H1, H2], 3, None, 200, None),
    (1, [H1, "+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=", H4], 5, None, 409, "3\n"),
    (3, [H2, H3, "wgiIFdZfYNv6WU1OllBKsWnLYIS/DBMqt8Uh/S4OukE=", H4], 5, None, 200, None),
    (0, [], 5, None, 409, "5\n"),
]


def test_the_requests_of_another_implementation_get_its_answers(tmp_path: Path) -> None:
    http = Bench(tmp_path, [LogKey.parse(f"{LITE}={LITE_KEY}")]).http()
    for old, proof, size, change, status, body in LITE_STEPS:
        signed = f"{LITE}\n{size}\n{LITE_ROOTS[size]}\n\n\u2014 {LITE} {LITE_SIGNATURES[size]}\n"
        said = "".join(f"{line}\n" for line in proof)
        answer = http.post(
            "/add-checkpoint",
            content=f"old {old}\n{said}\n{signed.replace(*change) if change else signed}".encode(),
        )
        assert answer.status_code == status, answer.text
        if status == 200:
            assert answer.text.startswith(f"\u2014 {NAME} ")
        if body is not None:
            assert answer.text == body
            assert answer.headers["content-type"].startswith("text/x.tlog.size")
