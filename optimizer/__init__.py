"""The engine: the Pyomo model, HiGHS, and the merit-order oracle."""
