"""`manage.py up`: from a fresh checkout to a running system, and down again in order."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipeline_admin.bootstrap import data_folder, environment, parts
from pipeline_admin.bootstrap.local_llm import MODEL_NAME
from pipeline_admin.bootstrap.locations import BASE_DIR, VENV_PYTHON
from pipeline_admin.bootstrap.parts import Part, TemporalPorts
from pipeline_admin.bootstrap.ports import kept_ports, why_taken
from pipeline_admin.bootstrap.processes import tie_to_this_process
from pipeline_admin.bootstrap.refusal import Refusal
from pipeline_admin.bootstrap.stored_settings import write_settings
from pipeline_admin.bootstrap.supervisor import StopRequest, Supervisor, say

KEPT_PORTS = (
    *("temporal_grpc", "temporal_http", "temporal_ui", "temporal_metrics", "llm"),
    *("metrics_dispatcher", "metrics_worker", "metrics_temporal_sdk"),
)
# What says where the running system is: kept for the other commands as this start was given it.
PASSED_ON = ("DATABASE_URL", "QUEUE_URL", "TEMPORAL_ADDRESS", "OPENAI_BASE_URL", "OPENAI_MODEL")
OPEN_FILES = 65_536


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    host: str
    port: int
    data_dir: Path
    with_llm: bool
    with_demo: bool


def read_options(arguments: list[str]) -> Options:
    """Read the command line; a model provider in the environment makes the local one needless."""
    parser = argparse.ArgumentParser(prog="manage.py up", description="Start the whole system.")
    parser.add_argument("--port", type=int, default=8000, help="of the pages and of ingest")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--data", default=os.environ.get("DATA_DIR") or str(BASE_DIR / ".data"))
    parser.add_argument("--no-llm", action="store_true", help="do not start the local model")
    parser.add_argument("--no-demo", action="store_true", help="do not make the demo pipeline")
    found = parser.parse_args(arguments)
    has_provider = os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")
    return Options(
        host=found.host,
        port=found.port,
        data_dir=Path(found.data).expanduser().absolute(),
        with_llm=not found.no_llm and not has_provider,
        with_demo=not found.no_demo,
    )


def main(arguments: list[str]) -> int:
    """Run until Ctrl-C or SIGTERM."""
    options = read_options(arguments)
    with data_folder.held(options.data_dir):
        _check_port(options)
        environment.ensure_installed(with_llm=options.with_llm)
        with StopRequest() as stop_request:
            _run(options, Supervisor(options.data_dir, stop_request))
    return 0


def _check_port(options: Options) -> None:
    if reason := why_taken(options.port, options.host):
        raise Refusal(
            f"Port {options.port} cannot be used ({reason}). Stop the program that listens there, "
            f"or choose another port: manage.py up --port {options.port + 1}."
        )


def _run(options: Options, supervisor: Supervisor) -> None:
    ports = kept_ports(options.data_dir / "ports.json", KEPT_PORTS)
    _prepare_environment(options, ports)
    print(f"Starting Pipeline Admin in {options.data_dir}", flush=True)
    try:
        for tier in _server_tiers(options, ports):
            supervisor.start(tier)
        # The model takes seconds to load, and nothing needs it yet.
        supervisor.wait_until_up("valkey", "temporal")
        first = run_setup(options, supervisor)
        supervisor.refuse_if_stopped()
        supervisor.start(_working_parts(options, ports))
        supervisor.wait_until_up()
        print(welcome(options, first), flush=True)
        supervisor.watch()
    finally:
        say("Stopping …")
        supervisor.stop()
    say("Stopped. The next `up` goes on where this one was.")


def _server_tiers(options: Options, ports: dict[str, int]) -> list[list[Part]]:
    """The embedded servers; one whose address is given in the environment is someone else's."""
    tiers: list[list[Part]] = [[], []]
    if not os.environ.get("QUEUE_URL"):
        tiers[0].append(parts.valkey(options.data_dir))
    if not os.environ.get("TEMPORAL_ADDRESS"):
        tiers[1].append(parts.temporal(options.data_dir, _temporal_ports(ports)))
    if options.with_llm:
        tiers[1].append(parts.local_llm(ports["llm"]))
    return tiers


def _working_parts(options: Options, ports: dict[str, int]) -> list[Part]:
    own_host = not os.environ.get("METRICS_HOST")
    metrics = {
        name: ports[f"metrics_{name}"]
        for name in ("dispatcher", "worker")
        if own_host and not os.environ.get(f"METRICS_PORT_{name.upper()}")
    }
    return [
        parts.web(options.host, options.port),
        *(parts.event_worker(name, metrics.get(name)) for name in ("dispatcher", "worker")),
        *parts.celery_parts(options.data_dir),
    ]


def _temporal_ports(ports: dict[str, int]) -> TemporalPorts:
    names = ("grpc", "http", "ui", "metrics")
    return TemporalPorts(**{name: ports[f"temporal_{name}"] for name in names})


def _prepare_environment(options: Options, ports: dict[str, int]) -> None:
    """Write settings.json, and make this process's environment what every part inherits."""
    settings = _running_settings(options, ports)
    write_settings(options.data_dir, settings)
    for name in settings:
        if not os.environ.get(name):  # an empty variable would hide the stored value
            os.environ.pop(name, None)
    os.environ["DATA_DIR"] = str(options.data_dir)
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pipeline_admin.settings")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _running_settings(options: Options, ports: dict[str, int]) -> dict[str, str]:
    settings = {
        # The name of its shard: what pages and metrics show instead of the socket's path.
        "QUEUE_URL": f"{parts.valkey_url(options.data_dir)}#queue",
        "TEMPORAL_ADDRESS": f"127.0.0.1:{ports['temporal_grpc']}",
        "TEMPORAL_UI_URL": f"http://127.0.0.1:{ports['temporal_ui']}",
        "PUBLIC_URL": os.environ.get("PUBLIC_URL") or local_url(options),
        "METRICS_PORT_DISPATCHER": str(ports["metrics_dispatcher"]),
        "METRICS_PORT_WORKER": str(ports["metrics_worker"]),
        "METRICS_PORT_TEMPORAL_SDK": str(ports["metrics_temporal_sdk"]),
    }
    if options.with_llm:
        settings |= {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{ports['llm']}/v1",
            "OPENAI_MODEL": MODEL_NAME,
            "OPENAI_API_KEY": "local",  # the client insists on one
        }
    return settings | {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}


def local_url(options: Options) -> str:
    """Where a browser on this machine finds the pages."""
    everywhere = options.host in {"0.0.0.0", "::"}  # noqa: S104
    host = "127.0.0.1" if everywhere else options.host
    return f"http://{f'[{host}]' if ':' in host else host}:{options.port}"


def run_setup(options: Options, supervisor: Supervisor) -> dict[str, str | None]:
    """Migrate and make the first user and the demo; gives what is to be shown once."""
    log_path = supervisor.logs / "setup.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [str(VENV_PYTHON), "-m", "pipeline_admin.bootstrap.django_setup"]
            + ([] if options.with_demo else ["--no-demo"]),
            cwd=BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # it holds the password: never into a log
            stderr=log,
            start_new_session=True,
            preexec_fn=tie_to_this_process(),
        )
        output = process.communicate()[0].decode()
    if process.returncode != 0:
        end = "\n".join(log_path.read_text(errors="replace").splitlines()[-15:])
        raise Refusal(f"The database could not be set up. The end of {log_path}:\n{end}")
    answer: dict[str, str | None] = json.loads(output)
    return answer


def welcome(options: Options, first: dict[str, str | None]) -> str:
    """What the person sees when all is up."""
    lines = ["", f"Pipeline Admin is running: {local_url(options)}/"]
    if first.get("admin_password"):
        lines += [
            f"Sign in as {first['admin_user']} with the password {first['admin_password']}",
            "(shown this once; change it on your account's page)",
        ]
    if first.get("curl"):
        lines += ["", "Send a first signed webhook and watch it arrive:", "", str(first["curl"])]
    lines += ["", f"Logs: {options.data_dir / 'logs'}. Ctrl-C stops everything, losing nothing."]
    return "\n".join(lines)
