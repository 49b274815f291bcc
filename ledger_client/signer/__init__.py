"""Milestone signers: a service that holds one key of k-of-n, and the client that asks them all."""

from ledger_client.signer.client import RemoteSigner, SignerEndpoint
from ledger_client.signer.rules import (
    EssenceCheck,
    EssenceCheckError,
    SignerError,
    SignerUnavailableError,
    SignRefusedError,
)
from ledger_client.signer.service import MilestoneKeeper, create_signer_app

__all__ = [
    "EssenceCheck",
    "EssenceCheckError",
    "MilestoneKeeper",
    "RemoteSigner",
    "SignRefusedError",
    "SignerEndpoint",
    "SignerError",
    "SignerUnavailableError",
    "create_signer_app",
]
