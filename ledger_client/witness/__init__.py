"""A witness of logs (C2SP tlog-witness): the service that cosigns, and the client that asks it."""

from ledger_client.witness.client import (
    WitnessBehindError,
    WitnessClient,
    WitnessClientError,
    WitnessRefusedError,
    WitnessUnavailableError,
)
from ledger_client.witness.keeper import WitnessKeeper
from ledger_client.witness.logs import LogKey, witness_vkey
from ledger_client.witness.service import create_witness_app

__all__ = [
    "LogKey",
    "WitnessBehindError",
    "WitnessClient",
    "WitnessClientError",
    "WitnessKeeper",
    "WitnessRefusedError",
    "WitnessUnavailableError",
    "create_witness_app",
    "witness_vkey",
]
