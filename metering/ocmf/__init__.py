"""The Open Charge Metering Format: charging sessions as signed records, and their reader.

SAFE e.V., OCMF 1.4.1 (2025-01-15). A gateway's signature over a meter's register is evidence
against tampering. It is not conformity with calibration law.
"""
