"""The illustrative sample county (滦平县): boundaries, hamlets, roads and a facility ledger.

The tables here are synthetic except for the real unit names and codes and the generalised county
outlines in ``sources/``; ``build_sample.py`` writes them all from one fixed seed, and
``boundaries/README.md`` names the source, licence and SHA-256 of each file.
"""
