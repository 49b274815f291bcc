"""What metering points will draw and feed in: Wh per quarter-hour in, Wh per quarter-hour out.

Floats live inside of this package alone. `engine` is its entrance.
"""
