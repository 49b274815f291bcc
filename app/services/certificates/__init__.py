"""Granular certificates: issued at settlement, amended by corrections, held in accounts.

Others need: :func:`issuing.issue` (at settlement and after a correction), :func:`final.finalise`,
:func:`figures.month_figures` (for statements), and the desk behind page, API and command line.
"""
