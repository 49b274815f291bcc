"""Bank files without any I/O: statements in (camt.053, CSV), payments out (pain.001), references.

Everything here is pure: bytes and text in, values or bytes out; amounts are integer micro-euros.
"""
