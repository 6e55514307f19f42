"""Cut the committed sample from the full audit log: the incidents that were opened first.

All rows of a chosen incident are kept, bytes unchanged and in file order, under the same header.
Incidents opened in the same minute are taken in file order. The archive holds no time and no
name, so that the same input gives the same file.
"""

import argparse
import csv
import gzip
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT.parent / "shared/data/incident_event_log.dev.csv.gz"
TARGET = ROOT / "console/casebook/console/samples/servicenow-audit-900.csv.gz"


def cut(lines: list[str], incidents: int) -> list[str]:
    """Return the header and the rows of the first ``incidents`` by time of opening."""
    header, *rows = lines
    columns = next(csv.reader([header]))
    number, opened = columns.index("number"), columns.index("opened_at")
    fields = list(csv.reader(rows))
    if len(fields) != len(rows):
        raise ValueError("a row spans more than one line")
    first: dict[str, datetime] = {}
    for row in fields:
        moment = datetime.strptime(f"{row[opened]} +0000", "%d/%m/%Y %H:%M %z")
        first.setdefault(row[number], moment)
    chosen = set(sorted(first, key=lambda incident: first[incident])[:incidents])
    kept = [line for line, row in zip(rows, fields, strict=True) if row[number] in chosen]
    return [header, *kept]


def main() -> None:
    """Write the sample and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", type=Path, default=SOURCE)
    parser.add_argument("target", nargs="?", type=Path, default=TARGET)
    parser.add_argument("--incidents", type=int, default=900)
    arguments = parser.parse_args()
    with gzip.open(arguments.source, "rt", encoding="utf-8", newline="") as source:
        sample = cut(source.read().splitlines(keepends=True), arguments.incidents)
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(sample).encode()
    arguments.target.write_bytes(gzip.compress(text, compresslevel=9, mtime=0))
    print(f"{arguments.target}: {len(sample) - 1} rows")


if __name__ == "__main__":
    main()
