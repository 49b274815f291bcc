"""Clearing books in which places, products or fees matter: a price for every hub."""
