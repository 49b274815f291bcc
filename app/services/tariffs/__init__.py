"""Tariffs and price series: what is sealed of them, what people see of them, what they enter."""
