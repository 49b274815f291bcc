"""Reads a monthly statement's canonical JSON into the document that pages and files show."""

from __future__ import annotations

from typing import Final

from pydantic import TypeAdapter, ValidationError

from web.ports.statements import Document


class DocumentError(ValueError):
    """The stored text is no statement of this version: stop and ask a person."""


_DOCUMENT: Final = TypeAdapter(Document)


def load(payload: bytes) -> Document:
    """Return the document that a statement's bytes hold.

    Raises:
        DocumentError: it is no statement; names the field.
    """
    try:
        found = _DOCUMENT.validate_json(payload, strict=True)
    except ValidationError as error:
        raise DocumentError(f"no monthly statement: {error.errors()[0]['loc']}") from error
    if found.version != 1:
        raise DocumentError(f"a statement of version {found.version}: only 1 is known")
    return found
