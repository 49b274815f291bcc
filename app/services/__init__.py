"""What the house does on request: enrolment, ingest, receipts, views, sessions."""
