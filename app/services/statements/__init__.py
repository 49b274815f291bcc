"""Monthly statements: what they are made of, their issue, and their page."""
