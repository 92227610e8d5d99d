"""What `manage.py` does with its arguments, before and after the virtual environment exists."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline_admin.bootstrap import environment
from pipeline_admin.bootstrap.locations import BASE_DIR, VENV_DIR, VENV_PYTHON
from pipeline_admin.bootstrap.refusal import Refusal

SETTINGS_MODULE = "pipeline_admin.settings"


def main(argv: list[str]) -> int:
    """Run the command line; the answer is the exit code."""
    try:
        return _run(argv)
    except Refusal as refusal:
        print(f"\n{refusal}", file=sys.stderr)
        return 1


def _run(argv: list[str]) -> int:
    command = argv[1] if len(argv) > 1 else "help"
    if command == "up":
        from pipeline_admin.bootstrap import up

        return up.main(argv[2:])
    if command == "install":
        environment.ensure_installed(with_llm="--no-llm" not in argv)
        return 0
    if command == "test":
        return _run_tests(argv[2:])
    return _run_django(argv)


def _run_tests(arguments: list[str]) -> int:
    environment.ensure_installed(for_tests=True)
    os.chdir(BASE_DIR)
    os.execv(VENV_PYTHON, [str(VENV_PYTHON), "-m", "pytest", *arguments])  # noqa: S606


def _run_django(argv: list[str]) -> int:
    """A management command: inside the virtual environment, on the data folder it names."""
    arguments, data_dir = split_data_dir(argv)
    if data_dir is not None:
        os.environ["DATA_DIR"] = str(data_dir)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS_MODULE)
    if Path(sys.prefix) != VENV_DIR:
        environment.ensure_installed()
        script = str(BASE_DIR / "manage.py")
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), script, *arguments[1:]])  # noqa: S606
    from django.core.management import execute_from_command_line

    execute_from_command_line(arguments)
    return 0


def split_data_dir(argv: list[str]) -> tuple[list[str], Path | None]:
    """The arguments without `--data DIR` or `--data=DIR`, and that folder, absolute."""
    kept: list[str] = []
    folder: str | None = None
    remaining = iter(argv)
    for argument in remaining:
        if argument == "--data":
            folder = next(remaining, None)
            if folder is None:
                raise Refusal("--data needs a folder: --data DIR.")
        elif argument.startswith("--data="):
            folder = argument.removeprefix("--data=")
        else:
            kept.append(argument)
    return kept, None if folder is None else Path(folder).expanduser().absolute()
