"""What a reviewer would otherwise say again and again: who imports whom, sizes, documentation."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import get_resolver
from drf_spectacular.generators import SchemaGenerator

from pipeline_admin.bootstrap.locations import BASE_DIR
from pipeline_admin.env import env
from tests.source_code import Module, read_modules

MODULES = read_modules()
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_BROAD_EXCEPTS = 3
CATCH_ALL_NAMES = {"utils", "util", "common", "core", "helpers", "helper", "misc", "services"}
STATE_OF_OTHER_THINGS = {"response", "answer", "request", "span"}  # `.status` of an HTTP answer

# Package → the only modules that may import it.
DOORS: dict[str, tuple[str, ...]] = {
    "redis": ("apps.streams",),
    "hiredis": ("apps.streams", "bench"),
    "aiokafka": ("apps.streams",),
    "temporalio": ("workers", "apps.events.workflow_client", "bench"),
    "openai": ("apps.llm", "bench"),
    "cryptography.fernet": ("apps.vault",),
    "phonenumbers": ("apps.pipelines.redaction",),
    "stdnum": ("apps.pipelines.redaction",),
    "requests": (),
    "httpx": ("bench",),
    "httpx2": ("apps.llm", "bench"),  # what openai is built on
    "aiohttp": ("bench",),
    "urllib.request": (),
    "urllib3": (),
    "http.client": ("apps.destinations.egress", "pipeline_admin.bootstrap", "bench"),
}


def complain(about: Callable[[Module], set[str]]) -> list[str]:
    """A line for each module that breaks a rule, to be compared with no line at all."""
    found = {module.name: about(module) for module in MODULES}
    return [f"{name}: {', '.join(sorted(names))}" for name, names in found.items() if names]


# --- Who may import whom --------------------------------------------------------------------


@pytest.mark.parametrize("package", DOORS)
def test_a_vendor_is_imported_behind_one_door(package: str) -> None:
    def about(module: Module) -> set[str]:
        return set() if module.is_in(*DOORS[package]) else module.imports_from(package)

    assert complain(about) == []


def test_apps_know_of_the_workers_only_their_contracts() -> None:
    def about(module: Module) -> set[str]:
        if ".management.commands." in module.name:
            return set()  # a command is where a process begins
        known = module.imports_from("workers.contracts")
        return module.imports_from("workers") - known - {"workers.contracts"}

    assert [line for line in complain(about) if line.startswith("apps.")] == []


def test_contracts_are_plain_data() -> None:
    def about(module: Module) -> set[str]:
        return module.imports_from("django", "temporalio", "apps")

    assert [line for line in complain(about) if line.startswith("workers.contracts")] == []


def test_a_workflow_has_no_django_and_no_apps() -> None:
    def about(module: Module) -> set[str]:
        return module.imports_from("django", "apps")

    assert [line for line in complain(about) if line.startswith("workers.workflows")] == []


def test_no_app_imports_the_views_of_another() -> None:
    def about(module: Module) -> set[str]:
        views = {name for name in module.imports if re.match(r"apps\.\w+\.views\b", name)}
        return views - module.imports_from(f"{module.app}.views") if module.app else views

    assert complain(about) == []


def test_models_know_neither_views_nor_forms_nor_the_api() -> None:
    def about(module: Module) -> set[str]:
        if not re.fullmatch(r"apps\.\w+\.models", module.name):
            return set()
        outer = r"apps\.\w+\.(views|forms|admin|api|urls)\b"
        return {name for name in module.imports if re.match(outer, name)}

    assert complain(about) == []


def test_only_the_vault_asks_for_its_keys() -> None:
    def about(module: Module) -> set[str]:
        if module.is_in("apps.vault", "apps.housekeeping.checks"):
            return set()
        return {
            node.attr
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and node.attr == "VAULT_KEYS"
        }

    assert complain(about) == []


def test_what_runs_before_the_installation_needs_only_python() -> None:
    vendors = ("django", "apps", "workers", "redis", "temporalio", "psycopg", "uvicorn", "celery")

    def about(module: Module) -> set[str]:
        if not module.is_in("pipeline_admin.bootstrap"):
            return set()
        return {name for name in get_top_level_imports(module) if name.split(".")[0] in vendors}

    assert complain(about) == []


def get_top_level_imports(module: Module) -> set[str]:
    top = ast.Module(body=[node for node in module.tree.body], type_ignores=[])
    names: set[str] = set()
    for node in top.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


# --- State, errors, sizes ---------------------------------------------------------------------


def test_nobody_but_the_event_changes_its_status() -> None:
    def about(module: Module) -> set[str]:
        if module.name == "apps.events.models":
            return set()
        assigned = {text for node in ast.walk(module.tree) for text in get_assigned_status(node)}
        return assigned - {f"{name}.status" for name in STATE_OF_OTHER_THINGS}

    assert complain(about) == []


def get_assigned_status(node: ast.AST) -> list[str]:
    """`x.status` where it is assigned, and an update(status=…)."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        named = {keyword.arg for keyword in node.keywords}
        return ["update(status=…)"] if node.func.attr == "update" and "status" in named else []
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    return [
        ast.unparse(target)
        for target in targets
        if isinstance(target, ast.Attribute) and target.attr == "status"
    ]


def test_nothing_happens_by_signal() -> None:
    signals = ("django.dispatch", "django.db.models.signals", "django.core.signals")
    assert complain(lambda module: module.imports_from(*signals)) == []


def test_a_broad_except_is_rare_and_says_why() -> None:
    broad = [
        (module, node)
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and is_broad(node)
    ]
    places = [f"{module.name}:{node.lineno}" for module, node in broad]
    assert len(places) <= MAX_BROAD_EXCEPTS, places
    lines = [module.text.splitlines()[node.lineno - 1] for module, node in broad]
    assert [line.strip() for line in lines if " - " not in line.partition("#")[2]] == []


def is_broad(handler: ast.ExceptHandler) -> bool:
    names = ast.unparse(handler.type) if handler.type else "BaseException"
    reraises = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
    return bool(re.search(r"\b(Exception|BaseException)\b", names)) and not reraises


def test_no_module_is_a_catch_all() -> None:
    named = [module.name for module in MODULES if CATCH_ALL_NAMES & set(module.name.split("."))]
    assert named == []


def test_no_module_is_too_long() -> None:
    one_file = "pipeline_admin.settings"  # read from top to bottom, however many there are
    lengths = {each.name: each.text.count("\n") for each in MODULES if each.name != one_file}
    assert {name: n for name, n in lengths.items() if n > MAX_MODULE_LINES} == {}


def test_no_function_is_too_long() -> None:
    lengths = {
        f"{module.name}.{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for module in MODULES
        for function in module.get_functions()
    }
    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


def test_nothing_is_imported_by_star() -> None:
    assert complain(lambda module: {name for name in module.imports if name[-1] == "*"}) == []


# --- Pages ------------------------------------------------------------------------------------

INLINE = {
    "a script": re.compile(r"<script\b(?![^>]*\bsrc=)(?![^>]*application/json)", re.I),
    "a style": re.compile(r"<style\b|\sstyle=", re.I),
    "a handler": re.compile(r"\son[a-z]+\s*=", re.I),
    "a javascript address": re.compile(r"javascript:", re.I),
    "somebody else's server": re.compile(r"(?:src|href)=[\"'](?:https?:)?//[^\"']+\.(?:js|css)"),
}


@pytest.mark.parametrize("what", INLINE)
def test_no_template_holds_inline(what: str) -> None:
    templates = [*BASE_DIR.glob("templates/**/*.html"), *BASE_DIR.glob("apps/**/*.html")]
    assert templates
    found = [
        f"{path.relative_to(BASE_DIR)}: {match[0]}"
        for path in templates
        for match in INLINE[what].finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


# --- Documentation ----------------------------------------------------------------------------


def read_docs(name: str) -> str:
    path = BASE_DIR / name
    assert path.exists(), f"{name} is missing"
    return path.read_text(encoding="utf-8")


def test_every_setting_is_documented() -> None:
    from django.conf import settings

    assert settings.configured  # it is read by then
    text = read_docs("docs/settings.md")
    missing = [name for name in sorted(env.settings) if f"`{name}`" not in text]
    assert not missing, "docs/settings.md lacks:\n" + "\n".join(missing)


def test_every_address_of_the_api_is_documented() -> None:
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    document: Any = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    text = read_docs("docs/api.md")
    addresses = {
        f"`{method.upper()} {path.replace('{', '<').replace('}', '>')}`"
        for path, operations in document["paths"].items()
        for method in operations
    }
    missing = sorted(address for address in addresses if address not in text)
    assert not missing, "docs/api.md lacks:\n" + "\n".join(missing)


def test_every_page_of_ours_is_documented() -> None:
    text = read_docs("docs/api.md")
    pages = {f"`/{route}`" for route in get_own_routes(get_resolver())}
    missing = sorted(page for page in pages if page not in text)
    assert not missing, "docs/api.md lacks:\n" + "\n".join(missing)


def get_own_routes(resolver: Any, prefix: str = "") -> set[str]:
    """Addresses answered by a view of ours, `<pk>` for `<int:pk>`; Unfold's and /api/ left out."""
    found: set[str] = set()
    for pattern in resolver.url_patterns:
        route = re.sub(r"<\w+:(\w+)>", r"<\1>", prefix + str(pattern.pattern))
        if hasattr(pattern, "url_patterns"):
            found |= get_own_routes(pattern, route)
        elif is_own_view(pattern.callback) and not route.startswith("api/"):
            found.add(route)
    return {route for route in found if not route.endswith(("/add/", "/change/"))}


def is_own_view(view: Any) -> bool:
    while hasattr(view, "__wrapped__"):
        view = view.__wrapped__
    return str(view.__module__).startswith("apps.")


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"])
def test_the_repository_has_its_papers(name: str) -> None:
    assert read_docs(name).strip()
