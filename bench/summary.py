"""What a bench found, as JSON values: sides, ratios, and whether what is aimed at is met."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.measuring import LIMIT, Bench, Budget, Measured, Run


def summary(bench: Bench, measured: Measured) -> dict[str, Any]:
    """Return what a bench found."""
    product = [turn.product for turn in measured.turns]
    others = {
        name: [turn.others[name] for turn in measured.turns] for name in measured.turns[0].others
    }
    return {
        "bench": bench.name,
        "unit": bench.unit,
        "figure": bench.figure,
        "product": {"what": bench.product, **_side(product)},
        "limit": None if bench.limit is None else {"what": bench.limit, **_side(others[LIMIT])},
        **_beside(bench.figure, product, others.get(LIMIT), bench.target),
        "peers": [
            {
                "peer": peer.name,
                "what": peer.what,
                **_side(others[peer.name]),
                **_beside(bench.figure, product, others[peer.name], peer.target),
            }
            for peer in bench.peers
        ],
        "budgets": [_budget(budget, product, others.get(LIMIT)) for budget in bench.budgets],
        "pairs": _pairs(bench.figure, product, others),
        "postgresql": dict(measured.server),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the extremes of some figures."""
    return {
        "median": significant(median(values)),
        "min": significant(min(values)),
        "max": significant(max(values)),
    }


def significant(value: float) -> float:
    """Return a figure with four digits; more would only look exact."""
    return float(f"{value:.4g}")


def _beside(
    figure: str, product: Sequence[Run], other: Sequence[Run] | None, target: float | None
) -> dict[str, Any]:
    """Return the ratios of the product to another side, and whether their median is enough."""
    if other is None:
        return {"ratio": None, "target": target, "met": None}
    ratio = spread(_ratios(figure, product, other))
    return {
        "ratio": ratio,
        "target": target,
        "met": None if target is None else ratio["median"] >= target,
    }


def _ratios(figure: str, product: Sequence[Run], other: Sequence[Run]) -> list[float]:
    """Return the ratio of each pair."""
    return [
        made.figure(figure) / bound.figure(figure)
        for made, bound in zip(product, other, strict=True)
    ]


def _budget(budget: Budget, product: Sequence[Run], limit: Sequence[Run] | None) -> dict[str, Any]:
    """Return a bound, and what was found of it."""
    name = budget.figure
    values = [run.figure(name) for run in product]
    if budget.times_limit and limit is not None:
        values = _ratios(name, product, limit)
    found = spread(values)
    return {
        "figure": name,
        "at_most": budget.at_most,
        "times_limit": budget.times_limit,
        "found": found,
        "met": found["median"] <= budget.at_most,
    }


def _pairs(
    figure: str, product: Sequence[Run], others: Mapping[str, Sequence[Run]]
) -> list[dict[str, Any]]:
    """Return the figures turn by turn, with the ratio to the limit where there is one."""
    pairs: list[dict[str, Any]] = [
        {"product": significant(run.figure(figure))}
        | {name: significant(runs[number].figure(figure)) for name, runs in others.items()}
        for number, run in enumerate(product)
    ]
    if LIMIT in others:
        ratios = _ratios(figure, product, others[LIMIT])
        for pair, ratio in zip(pairs, ratios, strict=True):
            pair["ratio"] = significant(ratio)
    return pairs


def _side(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the figures of one side of all turns."""
    names = dict.fromkeys(name for run in runs for name in run.notes)
    return {
        "events": sum(run.events for run in runs),
        "seconds": significant(sum(run.seconds for run in runs)),
        "rate": spread([run.rate for run in runs]),
        **{name: spread([run.notes[name] for run in runs if name in run.notes]) for name in names},
    }
