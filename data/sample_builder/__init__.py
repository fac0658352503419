"""Seeded generator of the illustrative sample county.

The modules run in one direction: :mod:`.terrain` makes a mountain surface, :mod:`.units` divides
the real county outline into the 213 real units on it, :mod:`.roads` routes a road network through
its valleys, :mod:`.hamlets` settles the residents, :mod:`.facilities` keeps a ledger about them,
and :mod:`.write` puts it all on disk. The package imports nothing of ``facility_coverage``, so the
sample can serve as an independent check of it.
"""
