"""Standing instructions of participants: versions, what they came to, and their page."""
