"""Licences that ask for consent: once, by any of three ways, and never silently."""

import io
import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from l2l_core.errors import CacheError, ConsentError
from l2l_core.fetch.cache import Cache
from l2l_core.fetch.consent import ensure_consent
from l2l_core.records import LicenceRecord

STRICT = LicenceRecord("strict", "Strict Terms", "https://strict.example", "Look, but do not touch.", consent=True)
REFUSAL = (
    "the data comes under Strict Terms (https://strict.example): Look, but do not touch, and nobody has accepted that "
    "here yet; read the terms, then accept them with --yes or L2L_ACCEPT_LICENCES=strict"
)


def never(question: str) -> str:
    pytest.fail(f"asked {question!r}")


def refusal(cache: Cache, licence: LicenceRecord = STRICT, **kwargs) -> str:
    with pytest.raises(ConsentError) as caught:
        ensure_consent(licence, cache, **kwargs)
    return str(caught.value)


def accepted(cache: Cache) -> dict[str, str]:
    return json.loads((cache.root / "accepted_licences.json").read_text())


def test_most_licences_ask_for_nothing(tmp_path):
    ensure_consent(LicenceRecord("mit", "MIT License"), Cache(tmp_path), ask=never)
    assert list(tmp_path.iterdir()) == []


def test_without_an_answer_it_says_which_terms_and_how_to_accept_them(tmp_path):
    assert refusal(Cache(tmp_path)) == REFUSAL
    assert refusal(Cache(tmp_path), LicenceRecord("bare", "Bare", consent=True)).startswith(
        "the data comes under Bare: see there, and nobody"
    )
    assert list(tmp_path.iterdir()) == []


def test_yes_is_recorded_and_not_asked_for_again(tmp_path):
    cache = Cache(tmp_path)
    ensure_consent(STRICT, cache, yes=True, ask=never)
    time = datetime.fromisoformat(accepted(cache)["strict"])
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)
    assert time.utcoffset() == timedelta(0)
    before = (tmp_path / "accepted_licences.json").stat().st_mtime_ns
    ensure_consent(STRICT, cache, ask=never)
    ensure_consent(STRICT, cache, yes=True)
    assert (tmp_path / "accepted_licences.json").stat().st_mtime_ns == before
    assert "(licence" not in refusal(cache, LicenceRecord("other", "Other", consent=True))


@pytest.mark.parametrize("value", ["strict", "other, strict ", "all"])
def test_the_environment_accepts(tmp_path, monkeypatch, value):
    monkeypatch.setenv("L2L_ACCEPT_LICENCES", value)
    ensure_consent(STRICT, Cache(tmp_path), ask=never)
    assert list(accepted(Cache(tmp_path))) == ["strict"]


@pytest.mark.parametrize("value", ["", "other", "strictly", "STRICT", "yes"])
def test_the_environment_accepts_only_what_it_names(tmp_path, monkeypatch, value):
    monkeypatch.setenv("L2L_ACCEPT_LICENCES", value)
    assert refusal(Cache(tmp_path)) == REFUSAL


@pytest.mark.parametrize("answer", ["yes", " YES\n"])
def test_a_person_may_say_yes(tmp_path, answer):
    questions = []
    ensure_consent(STRICT, Cache(tmp_path), ask=lambda question: (questions.append(question), answer)[1])
    assert questions == [
        "the data comes under Strict Terms (https://strict.example): Look, but do not touch.\n"
        "Do you accept these terms? Type yes or no: "
    ]
    assert list(accepted(Cache(tmp_path))) == ["strict"]


@pytest.mark.parametrize("answer", ["no", "", "y", "yes please"])
def test_anything_else_is_no(tmp_path, answer):
    assert refusal(Cache(tmp_path), ask=lambda _: answer) == REFUSAL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("terminals", ["both", "stdin", "stderr"])
def test_only_a_terminal_is_asked(tmp_path, monkeypatch, capsys, terminals):
    stdin = io.StringIO("yes\n")
    stdin.isatty = lambda: terminals != "stderr"
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminals != "stdin", raising=False)
    if terminals == "both":
        ensure_consent(STRICT, Cache(tmp_path))
        assert capsys.readouterr().err.startswith("The data comes under Strict Terms (https")
    else:
        assert refusal(Cache(tmp_path)) == REFUSAL
        assert stdin.tell() == 0
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b"\xff", b'{"other'])
def test_a_record_that_cannot_be_read_is_asked_for_again(tmp_path, content):
    (tmp_path / "accepted_licences.json").write_bytes(content)
    assert refusal(Cache(tmp_path)) == REFUSAL
    ensure_consent(STRICT, Cache(tmp_path), yes=True)
    assert list(accepted(Cache(tmp_path))) == ["strict"]


def test_consent_given_at_once_is_all_recorded(tmp_path):
    licences = [LicenceRecord(f"licence-{i}", "X", consent=True) for i in range(8)]
    threads = [
        threading.Thread(target=ensure_consent, args=(licence, Cache(tmp_path)), kwargs={"yes": True})
        for licence in licences
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert list(accepted(Cache(tmp_path))) == sorted(licence.key for licence in licences)


def test_consent_may_be_given_while_a_data_set_is_locked(tmp_path):
    with Cache(tmp_path).lock("shapes"):
        ensure_consent(STRICT, Cache(tmp_path), yes=True)


def test_consent_that_cannot_be_recorded_is_none(tmp_path):
    (tmp_path / "root").write_bytes(b"mine")
    with pytest.raises(CacheError, match="a file stands where a folder should be"):
        ensure_consent(STRICT, Cache(tmp_path / "root"), yes=True)


def test_a_process_without_any_input_is_refused(tmp_path):
    code = (
        "import sys; sys.stdin = None\n"
        "from pathlib import Path\nfrom l2l_core.errors import ConsentError\n"
        "from l2l_core.fetch.cache import Cache\nfrom l2l_core.fetch.consent import ensure_consent\n"
        "from l2l_core.records import LicenceRecord\n"
        "try:\n    ensure_consent(LicenceRecord('strict', 'S', consent=True), Cache(Path(sys.argv[1])))\n"
        "except ConsentError:\n    print('refused')\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=20)
    assert run.stdout == "refused\n"
