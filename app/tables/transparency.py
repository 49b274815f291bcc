"""Signature lines beside the log's checkpoints."""

from __future__ import annotations

from typing import Literal

from sqlmodel import Field, SQLModel, String

LineKind = Literal["witness", "mldsa"]


class CosignatureRow(SQLModel, table=True):
    """A signature line of a checkpoint's note: a witness's, or the log's own by ML-DSA-44.

    ``name`` is the witness's, or the district's own; a witness that cosigns again is kept once.
    """

    __tablename__ = "cosignature"
    size: int = Field(primary_key=True, foreign_key="checkpoint.size")
    kind: LineKind = Field(primary_key=True, sa_type=String)
    name: str = Field(primary_key=True)
    line: str
    time_s: int  # UTC seconds, as the signer says; 0: it says nothing about time
