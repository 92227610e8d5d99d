"""docker-compose.yml is a production shape that starts, keeps promises and gives nothing away."""

from __future__ import annotations

import pytest
import yaml
from django.core.management import get_commands

from apps.streams.addresses import find_mistake, get_name
from pipeline_admin.env import BASE_DIR, env
from tests.ops.compose import COMPOSE, ONE_SHOTS, OURS, SERVICES, VARIABLE, get_variables

# What the Compose Specification knows and we use: anything else is a slip of the pen.
KNOWN_KEYS = {
    *("build", "cap_drop", "command", "depends_on", "deploy", "entrypoint", "environment"),
    *("healthcheck", "image", "init", "logging", "networks", "ports", "read_only", "restart"),
    *("secrets", "security_opt", "shm_size", "stop_grace_period", "tmpfs", "volumes"),
}
THEIRS = {"postgres", "queue", "temporal", "temporal-ui", "prometheus", "grafana"}
every_service = pytest.mark.parametrize("name", sorted(SERVICES))
each_of_ours = pytest.mark.parametrize("name", OURS)


def test_it_starts_every_part_of_production() -> None:
    assert set(SERVICES) == {*OURS, *ONE_SHOTS, *THEIRS}


@every_service
def test_a_service_uses_known_keys_only(name: str) -> None:
    assert set(SERVICES[name]) <= KNOWN_KEYS


@every_service
def test_a_service_has_limits_a_restart_rule_and_cannot_gain_rights(name: str) -> None:
    service = SERVICES[name]
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    assert service["restart"] in {"unless-stopped", "on-failure:5", "no"}
    assert (service["restart"] != "unless-stopped") == (name in ONE_SHOTS)
    assert service["security_opt"] == ["no-new-privileges:true"]


@every_service
def test_a_service_waits_for_what_it_needs(name: str) -> None:
    for needed, rule in SERVICES[name].get("depends_on", {}).items():
        if rule["condition"] == "service_completed_successfully":
            assert needed in ONE_SHOTS
        else:
            assert rule["condition"] == "service_healthy"
            assert "test" in SERVICES[needed]["healthcheck"]


@every_service
def test_a_mounted_file_exists_and_is_read_only(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        origin, _, rest = mount.partition(":")
        if origin.startswith("."):
            assert (BASE_DIR / origin).exists()
            assert rest.endswith(":ro")
        else:
            assert origin in COMPOSE["volumes"]


@every_service
def test_an_image_of_others_has_a_fixed_version(name: str) -> None:
    if name not in OURS:
        version = SERVICES[name]["image"].partition(":")[2]
        assert version.lstrip("v")[:1].isdigit()


@each_of_ours
def test_our_process_runs_without_rights_on_a_read_only_disk(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["image"] == "pipeline-admin:${IMAGE_TAG:-latest}"


@each_of_ours
def test_our_process_is_given_settings_that_exist(name: str) -> None:
    import pipeline_admin.settings  # noqa: F401 - registers every setting

    assert set(SERVICES[name]["environment"]) <= set(env.settings)


@pytest.mark.parametrize("name", ["web", "dispatcher", "worker", "migrate"])
def test_a_command_of_manage_py_exists(name: str) -> None:
    python, manage, command, *_ = SERVICES[name]["command"]
    assert (python, manage, command) == ("python", "manage.py", name)
    assert command in get_commands()


def test_celery_runs_as_worker_and_as_one_beat() -> None:
    celery = ["celery", "-A", "pipeline_admin"]
    assert SERVICES["celery"]["command"][:4] == [*celery, "worker"]
    assert SERVICES["beat"]["command"][:4] == [*celery, "beat"]
    assert "replicas" not in SERVICES["beat"]["deploy"]


def test_only_web_and_grafana_are_published_and_on_this_host_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "web": ["${PUBLISH_ADDRESS:-127.0.0.1}:${WEB_PORT:-8000}:8000"],
        "grafana": ["${PUBLISH_ADDRESS:-127.0.0.1}:${GRAFANA_PORT:-3000}:3000"],
    }


@pytest.mark.parametrize("name", ["postgres", "queue", "temporal", "temporal-ui", "prometheus"])
def test_what_holds_data_has_no_way_to_the_world(name: str) -> None:
    assert SERVICES[name]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_temporals_ui_is_opened_by_a_file_of_its_own_on_this_host_only() -> None:
    text = (BASE_DIR / "deploy" / "compose.temporal-ui.yml").read_text(encoding="utf-8")
    opened = yaml.safe_load(text)["services"]
    assert opened["temporal-ui"]["ports"] == ["127.0.0.1:${TEMPORAL_UI_PORT:-8233}:8080"]
    assert list(opened) == ["temporal-ui"]


def test_the_variant_with_three_shards_names_three_servers_that_it_starts() -> None:
    text = (BASE_DIR / "deploy" / "compose.three-shards.yml").read_text(encoding="utf-8")
    variant = yaml.safe_load(text)
    servers = {name: rules for name, rules in variant["services"].items() if name not in OURS}
    assert set(servers) == {"queue-2", "queue-3"}
    for name, rules in servers.items():
        main, service = rules["extends"]["file"], rules["extends"]["service"]
        assert (BASE_DIR / "deploy" / main).resolve() == BASE_DIR / "docker-compose.yml"
        assert service == "queue"
        # The same place in the container as in what it extends, on a volume of its own.
        assert rules["volumes"] == [f"{name}:/data"]
        assert name in variant["volumes"]
    ours = {name: rules for name, rules in variant["services"].items() if name in OURS}
    assert set(ours) == {*OURS} - {"migrate"}
    for rules in ours.values():
        urls = VARIABLE.sub("secret", rules["environment"]["QUEUE_URL"]).split(",")
        assert [get_name(url) for url in urls] == ["queue:6379", "queue-2:6379", "queue-3:6379"]
        assert find_mistake(urls) == ""
        assert VARIABLE.sub("secret", rules["environment"]["BROKER_URL"]) == urls[0]
    assert {kind for _, kind, _ in get_variables(text)} == {"?"}


def test_the_queue_server_is_durable_and_refuses_instead_of_forgetting() -> None:
    _, *words = SERVICES["queue"]["command"]
    flags = dict(zip(words[::2], words[1::2], strict=True))
    assert flags["--appendonly"] == "yes"
    assert flags["--appendfsync"] == "always"
    assert flags["--no-appendfsync-on-rewrite"] == "no"
    assert flags["--maxmemory-policy"] == "noeviction"
    assert "queue:/data" in SERVICES["queue"]["volumes"]


def test_no_secret_has_a_default_and_each_asks_for_itself_by_a_sentence() -> None:
    secret_words = ("PASSWORD", "TOKEN", "SECRET", "_KEY", "_KEYS")
    uses = [use for use in get_variables() if use[0].endswith(secret_words)]
    assert uses
    for name, kind, rest in uses:
        assert (kind, name in rest) == ("?", True), name
