"""Sharing keys: files, versions and their page."""
