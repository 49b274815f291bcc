"""The IOTA Stardust wire format: blocks, transactions, milestones, addresses, Merkle roots.

Pure encoding and decoding of the public TIPs; no I/O, no clock. Everything is checked when an
object is made, so that whatever decodes also encodes to the same bytes.
"""
