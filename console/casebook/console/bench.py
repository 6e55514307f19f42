"""``casebook bench``: throughput beside its limits, by the benches of a checkout.

The benches are no part of the installed product: they start servers and fill them, and they look
into the insides of what they measure. So they lie in ``bench/`` at the root of the repository, and
are found from there or not at all.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

from casebook.console.tables import as_table

ROOT = Path(__file__).resolve().parents[3]


async def bench(name: str | None, *, pairs: int, scale: float, say: Any) -> dict[str, Any]:
    """Run one bench, or all; return the document that ``-o json`` prints.

    :raises LookupError: without a checkout, and for a bench that there is not.
    :raises RuntimeError: when a bench did not do what it was to measure.
    """
    benches = _load(ROOT)
    if name is not None and name not in benches.BENCHES:
        raise LookupError(f"there is no bench {name}; there are: {', '.join(benches.BENCHES)}")
    chosen = [found for found in benches.BENCHES.values() if name in {None, found.name}]
    return await benches.document(chosen, benches.Effort(pairs=pairs, scale=scale), say)


def _load(root: Path) -> Any:
    """Return the package of the benches.

    :raises LookupError: when this code does not run from a checkout.
    """
    if not (root / "bench" / "__init__.py").is_file():
        raise LookupError("the benches are in a checkout of the repository; run it from one")
    sys.path.insert(0, str(root))
    return importlib.import_module("bench")


def bench_table(document: dict[str, Any]) -> str:
    """Return what benches found for reading: a line a comparison, then what is to know about it."""
    rows = [row for found in document["benches"] for row in _rows(found)]
    lines = [as_table(rows)] if rows else []
    for found in document["benches"]:
        lines.append(f"{found['bench']}: {found['product']['what']}")
        if found["limit"] is not None:
            lines.append(f"  limit: {found['limit']['what']}")
        lines.extend(f"  {peer['peer']}: {peer['what']}" for peer in found["peers"])
        lines.extend(_figures(found))
        lines.extend(_budget(budget) for budget in found["budgets"])
    machine = document["machine"]
    load = f"load {machine['load_before']} before, {machine['load_after']} after"
    lines.append(f"{machine['cores']} cores, {load}: trust the ratios, not the rates")
    return "\n".join(lines)


def _rows(found: dict[str, Any]) -> list[dict[str, str]]:
    """Return the lines of one bench: beside its limit, and beside each peer."""
    compared = {name: found[name] for name in ("ratio", "target", "met")}
    others = [] if found["limit"] is None else [("limit", {**found["limit"], **compared})]
    others += [(peer["peer"], peer) for peer in found["peers"]]
    figure = found["figure"]
    product = found["product"][figure]["median"]
    return [
        {
            "bench": found["bench"],
            "Casebook": f"{product:,.4g}",
            "beside": name,
            "its": f"{other[figure]['median']:,.4g}",
            "unit": found["unit"],
            "ratio": f"{other['ratio']['median']:.2f}",
            "from – to": f"{other['ratio']['min']:.2f} – {other['ratio']['max']:.2f}",
            "turns": str(len(found["pairs"])),
            "aimed at": _aimed(other),
        }
        for name, other in others
    ]


def _aimed(other: dict[str, Any]) -> str:
    """Return the ratio that is aimed at, and whether it was reached."""
    if other["target"] is None:
        return "–"
    return f"≥ {other['target']:g} {_met(other)}"


def _met(found: dict[str, Any]) -> str:
    """Return whether something that is aimed at was reached."""
    return "met" if found["met"] else "missed"


def _budget(budget: dict[str, Any]) -> str:
    """Return the line of a bound on a figure."""
    name, found = budget["figure"], budget["found"]
    of = f"{name} to the limit's" if budget["times_limit"] else name
    seen = f"{found['median']:g} ({found['min']:g} – {found['max']:g})"
    return f"  {of}: {seen}, aimed at ≤ {budget['at_most']:g}: {_met(budget)}"


def _figures(found: dict[str, Any]) -> list[str]:
    """Return the further figures of a bench, one a line; those with a bound of their own follow."""
    bound = {budget["figure"] for budget in found["budgets"] if not budget["times_limit"]}
    shown = {
        name: value
        for name, value in found["product"].items()
        if isinstance(value, dict) and name not in {"rate", *bound}
    }
    return [
        f"  {name}: {value['median']:g} ({value['min']:g} – {value['max']:g})"
        for name, value in shown.items()
    ]
