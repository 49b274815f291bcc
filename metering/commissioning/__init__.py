"""Putting a meter into service: find it, judge what it shows, give it a key, have it enrolled.

The rules are pure (:mod:`.plan`, :mod:`.suggest`, :mod:`.plausible`, :mod:`.wire`); lines and HTTP
stand at the edge (:mod:`.probe`, :mod:`.registrar`). The way as a whole: docs/commissioning.md.
"""
