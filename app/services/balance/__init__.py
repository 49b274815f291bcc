"""The district's balance: how much of what it uses it makes itself."""
