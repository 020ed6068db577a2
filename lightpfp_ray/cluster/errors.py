"""The sentence for the user out of what Ray wraps around it."""

from __future__ import annotations

from ..errors import UserError

WRAPPERS = ("_base_exc", "cause", "controller_failure")
"""Attributes in which Ray's exceptions carry the one that was raised in a task or a worker."""

CHAIN = ("__cause__", "__context__")


def unwrap(error: BaseException | None) -> UserError | None:
    """The UserError inside an exception, at any depth, or None where there is none.

    What `ray.get` raises for a UserError is one itself by class, but its text is a traceback: the
    one that it carries is meant. Python's own chain does not outlive the way from a worker, so that
    a task must not hide a UserError behind another exception.
    """
    seen: set[int] = set()
    pending = [error]
    while pending:
        found = pending.pop()
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        carried = _carried(found)
        if isinstance(found, UserError) and not carried:
            return found
        pending += [getattr(found, name) for name in reversed(CHAIN)] + carried
    return None


def _carried(error: BaseException) -> list[BaseException]:
    """Exceptions that one of Ray's holds: the one of a task, or those of the workers by rank."""
    failures = getattr(error, "worker_failures", None)
    held = list(failures.values()) if isinstance(failures, dict) else []
    held += [getattr(error, name, None) for name in WRAPPERS]
    return [inner for inner in held if isinstance(inner, BaseException)]
