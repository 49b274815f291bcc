"""Clearing a forward session: many intervals, blocks, cars and storages in one solve."""
