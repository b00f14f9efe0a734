"""The code keeps its own rules: types, style, floors."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tool(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed: pip install '.[test]'"
    return found


def output_of(*command: str) -> tuple[int, str]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports",)]
)
def test_the_code_passes(command: tuple[str, ...]) -> None:
    status, text = output_of(tool(command[0]), *command[1:])
    assert status == 0, text


def test_no_committed_text_names_a_registry_or_a_path_of_one_machine() -> None:
    status, listed = output_of("git", "ls-files")
    if status != 0:
        pytest.skip("not a git checkout")
    forbidden = re.compile(r"https?://(?:[\w.-]*pypi|files\.pythonhosted|registry\.)|/(?:home|Users)/\w+/")
    for name in listed.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix in {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".j2", ".cfg"}:
            found = forbidden.search(path.read_text(encoding="utf-8"))
            assert name == "tests/quality/test_code.py" or found is None, f"{name}: {found}"


def test_the_help_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from tailort.cli.app import run; run(['--help']); "
        "heavy = {'numpy', 'numba', 'scipy', 'pydicom', 'matplotlib'} & set(sys.modules); print('HEAVY', sorted(heavy))"
    )
    status, text = output_of(sys.executable, "-c", code)
    assert status == 0
    assert "HEAVY []" in text
