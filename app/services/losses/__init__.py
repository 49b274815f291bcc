"""The feeders' loss meters: rows per interval, judged by the local day, and their page.

``docs/money.md``, "Losses".
"""

from app.services.losses.recording import energies_of, record

__all__ = ["energies_of", "record"]
