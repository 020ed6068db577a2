"""What the doctor says: a finding is what, where, how sure, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEVELS = ("note", "warning", "error")
"""note: worth knowing; warning: look at it; error: the labels are wrong, training on them is lost
time.
"""

NAMED = 5
"""Structures that are named in a line."""


@dataclass(frozen=True)
class Finding:
    """One thing about a set of structures."""

    kind: str  # stable, for programs: "stress sign", "duplicates"
    level: str
    what: str
    do: str
    where: tuple[str, ...] = ()  # sources, "file.extxyz#12"; all that are meant
    evidence: str = ""  # how sure, in numbers

    def line(self) -> str:
        """For a person."""
        evidence = f" ({self.evidence})" if self.evidence else ""
        return f"{self.what}{evidence}{named(self.where)}: {self.do}"

    def as_dict(self) -> dict:
        """For JSON."""
        return {
            "kind": self.kind,
            "level": self.level,
            "what": self.what,
            "evidence": self.evidence,
            "where": list(self.where),
            "do": self.do,
        }


def named(sources: Sequence[str]) -> str:
    """ ", as a.extxyz#3, a.extxyz#17 ..." or nothing."""
    if not sources:
        return ""
    more = " ..." if len(sources) > NAMED else ""
    return f", as {', '.join(sources[:NAMED])}{more}"


def by_level(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first."""
    return sorted(findings, key=lambda finding: -LEVELS.index(finding.level))


def count_of(n: int, total: int | None = None, verb: str = "") -> str:
    """ "1 structure", "12 of 200 structures have"."""
    noun = "structure" if n == 1 and total is None else "structures"
    told = f"{n} {noun}" if total is None else f"{n} of {total} {noun}"
    return f"{told} {_SINGULAR[verb] if n == 1 else verb}" if verb else told


_SINGULAR = {"have": "has", "are": "is"}
