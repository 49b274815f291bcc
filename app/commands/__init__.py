"""The commands beside ``demo``, ``clear`` and ``verify``; imports stand inside the functions."""
