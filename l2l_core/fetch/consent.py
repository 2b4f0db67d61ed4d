"""Licences that ask for consent: asked for once, and remembered in the cache."""

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from l2l_core.errors import ConsentError
from l2l_core.fetch.cache import Cache
from l2l_core.files import replacing, writing
from l2l_core.records import LicenceRecord

_LOCK = "accepted_licences"  # an underscore, so that it is no data set's name


def ensure_consent(
    licence: LicenceRecord, cache: Cache, *, yes: bool = False, ask: Callable[[str], str] | None = None
) -> None:
    """Nothing, once the licence is accepted or asks for no consent.

    It is accepted by `yes`, by the environment's L2L_ACCEPT_LICENCES (keys between commas, or ``all``), or by the word
    "yes" at a terminal; that is recorded in ``accepted_licences.json`` under the cache's root, and never asked again.

    Args:
        licence: which terms.
        cache: where the consent is recorded.
        yes: whether the user has accepted already, by ``--yes``.
        ask: from a question to what was answered; None asks at the terminal, where there is one.

    Raises:
        ConsentError: it was not accepted; says which terms, and how to accept them.
        CacheError: the consent cannot be recorded.
    """
    if not licence.consent or licence.key in _accepted(_record(cache)):
        return
    keys = [key.strip() for key in os.environ.get("L2L_ACCEPT_LICENCES", "").split(",")]
    if not (yes or licence.key in keys or "all" in keys or _says_yes(licence, ask or _ask_terminal)):
        raise ConsentError(
            f"{_terms(licence)}, and nobody has accepted that here yet; read the terms, then accept them with --yes "
            f"or L2L_ACCEPT_LICENCES={licence.key}"
        )
    with cache.lock(_LOCK):
        accepted = {**_accepted(_record(cache)), licence.key: datetime.now(UTC).isoformat(timespec="seconds")}
        with replacing(_record(cache)) as part, writing("accepted licences", part):
            part.write_text(json.dumps(accepted, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _record(cache: Cache) -> Path:
    return cache.root / "accepted_licences.json"


def _accepted(path: Path) -> dict[str, str]:
    """Key to the time of consent; what cannot be read is asked for again."""
    try:
        accepted = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return accepted if isinstance(accepted, dict) else {}


def _terms(licence: LicenceRecord) -> str:
    url = f" ({licence.url})" if licence.url else ""
    return f"the data comes under {licence.name}{url}: {(licence.terms or 'see there').rstrip('.')}"


def _says_yes(licence: LicenceRecord, ask: Callable[[str], str]) -> bool:
    return ask(f"{_terms(licence)}.\nDo you accept these terms? Type yes or no: ").strip().casefold() == "yes"


def _ask_terminal(question: str) -> str:
    """What a person answers; nothing where nobody is there."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        return ""
    print(question[:1].upper() + question[1:], end="", file=sys.stderr, flush=True)
    return sys.stdin.readline()
