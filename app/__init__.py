"""Composes the house: settings, clock, database, services, jobs, API, command line."""
