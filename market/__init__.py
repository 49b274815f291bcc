"""The rules: money, orders, price rules, settlement, journal. No I/O, no clock, no randomness."""
