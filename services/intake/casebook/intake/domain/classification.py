"""What a request is about: its kind and its problem type (handbook 1.1, 2.1)."""

from collections.abc import Mapping
from typing import Literal, get_args

from casebook.kit.decider import Refused

Kind = Literal["incident", "service_request", "question", "complaint", "change_request", "alert"]
KINDS: tuple[str, ...] = get_args(Kind)
"""Assumption: the kinds of request; the handbook speaks of service requests without kinds."""

ProblemType = Literal[
    "infrastructure-maintenance",
    "system-configuration-management",
    "security-policy",
    "application-development",
    "data-processing",
    "system-integration",
    "other",
]
PROBLEM_TYPES: tuple[str, ...] = get_args(ProblemType)
"""The six kinds of IT service of handbook 1.1, and ``other`` (Assumption) for the rest."""

PROBLEM_TYPE_NAMES: Mapping[str, str] = {
    "infrastructure-maintenance": "基础设施维护",
    "system-configuration-management": "系统配置管理",
    "security-policy": "安全策略制定",
    "application-development": "应用程序开发",
    "data-processing": "数据处理",
    "system-integration": "系统集成",
}
"""What the handbook calls them."""


def ensure_known_kind(kind: str) -> None:
    """Accept a kind of request that exists.

    :raises Refused: ``unknown-kind`` for any other.
    """
    if kind not in KINDS:
        raise Refused("unknown-kind", f"a request is one of: {', '.join(KINDS)}")


def ensure_known_problem_type(problem_type: str) -> None:
    """Accept a problem type that exists.

    :raises Refused: ``unknown-problem-type`` for any other.
    """
    if problem_type not in PROBLEM_TYPES:
        raise Refused("unknown-problem-type", f"known are: {', '.join(PROBLEM_TYPES)}")
