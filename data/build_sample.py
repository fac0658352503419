"""Write the illustrative sample county: ``python data/build_sample.py [--out DIR]``.

The same seed gives the same tables and geometries each time. Needs numpy, pandas, shapely,
geopandas, networkx, scipy, openpyxl and pyproj, and nothing of ``facility_coverage``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # the generator is a script with a package beside it

from sample_builder import write  # noqa: E402
from sample_builder.common import read_sources  # noqa: E402
from sample_builder.facilities import build_ledger  # noqa: E402
from sample_builder.hamlets import choose_sites, settle  # noqa: E402
from sample_builder.partition import box_shares, divide_county  # noqa: E402
from sample_builder.readme import write_readme  # noqa: E402
from sample_builder.roads import build_roads  # noqa: E402
from sample_builder.terrain import build_terrain  # noqa: E402


def build(out: Path) -> None:
    """Build the sample county and write its files below ``out``."""
    sources = read_sources(HERE / "sources")
    terrain = build_terrain(sources.county.bounds)
    partition = divide_county(sources, terrain)
    sites = choose_sites(sources, terrain, partition)
    network = build_roads(sources, terrain, partition, sites)
    settlement = settle(sources, terrain, partition, network, sites)
    ledger = build_ledger(network, partition, settlement, list(sites.township_seat.values()))
    write.write_units(out, partition, settlement)
    write.write_neighbours(out, sources)
    write.write_hamlets(out, settlement)
    write.write_roads(out, network, terrain)
    write.write_ledger(out, ledger)
    write_readme(out, HERE / "sources", box_shares(sources, partition))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write into")
    build(parser.parse_args().out)


if __name__ == "__main__":
    main()
