"""Data sets with published results, a file each. To add one: a file that ends in its SET, and a line in SETS."""

from __future__ import annotations

from sets import cmudict, g2p2020, inflection2022, multi30k, names, pronounce, scan, stressed
from sets.part import DataSet

SETS: dict[str, DataSet] = {
    "cmudict": cmudict.SET,
    "cmudict-stressed": stressed.SET,
    "g2p2020": g2p2020.SET,
    "multi30k": multi30k.SET,
    "names": names.SET,
    "scan": scan.SET,
    "inflection2022": inflection2022.SET,
    "pronounce": pronounce.SET,
}
