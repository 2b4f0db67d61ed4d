"""Every Python example of the README runs, and every command it names exists."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_runs(number: int, glyphs_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2L_HOME", str(glyphs_home))
    exec(compile(EXAMPLES[number], f"README example {number}", "exec"), {"__name__": "example"})


def test_there_are_examples_and_the_named_commands_exist() -> None:
    from l2l_core.cli import app

    assert len(EXAMPLES) >= 4
    known = {command.name for command in app.registered_commands}
    named = set(re.findall(r"^l2l (\w+)", README.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named == known - {"quickstart"}
