"""The root of what the market refuses."""


class MarketError(ValueError):
    """Root: what was asked for breaks a rule of the market; nothing was changed."""
