"""What was settled, as known now, and its sums: written at settlement, corrected with it.

Pages, statements and exports read these rows and never scan quarters of a year.
``docs/money.md``, "Settled energy and its sums".
"""

from app.services.settled.amending import amend
from app.services.settled.backfill import ensure
from app.services.settled.writing import bill_month, bill_months, borders, record

__all__ = ["amend", "bill_month", "bill_months", "borders", "ensure", "record"]
