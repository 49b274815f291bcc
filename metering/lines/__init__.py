"""Lines to meters: from a table of the configuration to a meter's decoded values.

``config`` says which line, ``transport`` speaks Modbus over it (the only module that knows
pymodbus), ``line`` is the one worker that takes turns (``turns``) between the units behind it,
``meter`` polls one unit by its profile, ``capacity`` works out what a slow bus can carry, and
``errors`` is what may go wrong, and what next. Above it ``metering.poller`` polls many meters.
"""
