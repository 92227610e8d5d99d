"""manage.py before anything is installed: any Python, any folder, no package."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_admin.bootstrap.commands import split_data_dir
from pipeline_admin.bootstrap.locations import BASE_DIR

AS_OLD_PYTHON = (
    "import sys; sys.version_info = (3, 6, 9); "
    "exec(compile(open('manage.py').read(), 'manage.py', 'exec'))"
)
MODULES = ("commands", "up", "environment", "supervisor", "local_llm", "django_setup")


def run(*arguments: str, cwd: Path = BASE_DIR, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
    )


def test_an_old_python_gets_a_sentence_that_says_what_to_do() -> None:
    finished = run("-c", AS_OLD_PYTHON)
    assert finished.returncode == 1
    assert "needs Python 3.11 or newer, and this is Python 3.6" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_old_python_can_read_the_file_that_tells_it_so() -> None:
    ast.parse((BASE_DIR / "manage.py").read_text(), feature_version=(3, 6))


def test_the_two_commands_need_no_installed_package() -> None:
    imports = "; ".join(f"import pipeline_admin.bootstrap.{name}" for name in MODULES)
    finished = run(
        "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(BASE_DIR)!r}); {imports}"
    )
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ["manage.py", "create_token", "--data", "/d", "--user", "admin"],
        ["manage.py", "--data=/d", "create_token", "--user", "admin"],
    ],
)
def test_the_data_folder_may_stand_anywhere_on_the_line(argv: list[str]) -> None:
    assert split_data_dir(argv) == (["manage.py", "create_token", "--user", "admin"], Path("/d"))


def test_a_command_without_its_data_folder_is_told_so() -> None:
    finished = run("manage.py", "check", "--data")
    assert finished.returncode == 1
    assert finished.stderr.strip() == "--data needs a folder: --data DIR."


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a path with spaces whose requirements ask for nothing."""
    folder = tmp_path / "a checkout with spaces"
    package = folder / "pipeline_admin"
    package.mkdir(parents=True)
    shutil.copy(BASE_DIR / "manage.py", folder)
    shutil.copy(BASE_DIR / "pipeline_admin" / "__init__.py", package)
    shutil.copytree(BASE_DIR / "pipeline_admin" / "bootstrap", package / "bootstrap")
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-llm.txt"):
        (folder / name).write_text("# nothing\n")
    return folder


def test_installing_makes_the_environment_and_is_then_done_for_good(checkout: Path) -> None:
    first = run("manage.py", "install", cwd=checkout, PIP_NO_INDEX="1")
    assert first.returncode == 0, first.stderr
    assert "requirements.txt: 0 packages installed" in first.stderr
    second = run("manage.py", "install", cwd=checkout, PIP_NO_INDEX="1")
    assert (second.returncode, second.stderr) == (0, "")


def test_changed_requirements_are_installed_at_the_next_start(checkout: Path) -> None:
    run("manage.py", "install", cwd=checkout, PIP_NO_INDEX="1")
    (checkout / "requirements.txt").write_text("# changed\n")
    again = run("manage.py", "install", cwd=checkout, PIP_NO_INDEX="1")
    assert "requirements.txt" in again.stderr
    assert "requirements-llm.txt" not in again.stderr


def test_two_installs_at_once_wait_for_each_other(checkout: Path) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "manage.py", "install"],
            cwd=checkout,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PIP_NO_INDEX": "1"},
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("Making" in text for text in said) == 1
    assert sum("waiting for it" in text for text in said) == 1


def test_a_failing_pip_shows_its_end_and_says_what_to_do(checkout: Path) -> None:
    wanted = "surely-missing==1.0 --hash=sha256:" + "0" * 64
    (checkout / "requirements.txt").write_text(wanted + "\n")
    finished = run("manage.py", "install", cwd=checkout, PIP_NO_INDEX="1")
    assert finished.returncode == 1
    assert "No matching distribution found for surely-missing==1.0" in finished.stderr
    assert "start again: what is done already is kept" in finished.stderr
    assert "Traceback" not in finished.stderr
