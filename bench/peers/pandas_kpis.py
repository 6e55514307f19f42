# pyright: reportMissingImports=false
"""Computes some KPIs of an incident audit log with pandas, over the file in memory."""

import json
import sys
import time
from typing import Any

import pandas

CLOSING = ("Resolved",)


def load(path: str, requests: int) -> Any:
    """Return the rows of the first requests, with their times parsed."""
    rows = pandas.read_csv(path, usecols=[
        "number", "incident_state", "reopen_count", "opened_at", "sys_updated_at",
    ])  # fmt: skip
    wanted = rows["number"].drop_duplicates().head(requests)
    rows = rows[rows["number"].isin(set(wanted))].copy()
    for column in ("opened_at", "sys_updated_at"):
        rows[column] = pandas.to_datetime(rows[column], format="%d/%m/%Y %H:%M")
    return rows


def kpis(rows: Any) -> dict[str, float]:
    """Return the figures: handling in hours from opening to the last resolution."""
    requests = rows.groupby("number", sort=False).agg(
        opened=("opened_at", "first"), reopened=("reopen_count", "max")
    )
    resolved = rows[rows["incident_state"].isin(CLOSING)]
    last = resolved.groupby("number", sort=False)["sys_updated_at"].last()
    hours = (last - requests["opened"]).dropna().dt.total_seconds() / 3600
    return {
        "handling_hours_mean": float(hours.mean()),
        "handled_within_24h_share": float((hours <= 24).mean()),
        "reopen_rate": float((requests["reopened"] > 0).mean()),
    }


def main() -> None:
    """Load, then compute again and again; print how long each took."""
    task = json.loads(sys.argv[1])
    started = time.perf_counter()
    rows = load(task["path"], task["requests"])
    load_ms = 1000 * (time.perf_counter() - started)
    found: dict[str, float] = {}
    seconds: list[float] = []
    for _ in range(task["answers"]):
        started = time.perf_counter()
        found = kpis(rows)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"load_ms": load_ms, "seconds_each": seconds, "kpis": found}))


main()
