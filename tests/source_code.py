"""Our own source as the house rules read it: modules, their imports, their functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline_admin.bootstrap.locations import BASE_DIR

FOLDERS = ("apps", "workers", "pipeline_admin", "bench")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file, `name` as one imports it."""

    path: Path

    @cached_property
    def name(self) -> str:
        parts = self.path.relative_to(BASE_DIR).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def app(self) -> str:
        """`apps.events` for whatever lies in it; '' outside apps/."""
        parts = self.name.split(".")
        return ".".join(parts[:2]) if parts[0] == "apps" and len(parts) > 1 else ""

    def is_in(self, *packages: str) -> bool:
        return any(self.name == each or self.name.startswith(f"{each}.") for each in packages)

    @cached_property
    def imports(self) -> frozenset[str]:
        """Full names of all that is imported, anywhere in it: `apps.events.models.Event`."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{self.name} imports relatively"
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        return frozenset(found)

    def imports_from(self, *packages: str) -> set[str]:
        """Those imports that lie in one of the packages."""
        return {
            name
            for name in self.imports
            for package in packages
            if name == package or name.startswith(f"{package}.")
        }

    def get_functions(self) -> Iterator[Function]:
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield node


def read_modules() -> list[Module]:
    """All modules of ours but migrations, which a machine writes."""
    paths = (path for folder in FOLDERS for path in (BASE_DIR / folder).rglob("*.py"))
    return [Module(path) for path in sorted(paths) if "migrations" not in path.parts]
