"""A supervisor over tiny fake parts, for tests that send it signals.

`python -m tests.bootstrap.fake_system DATA_DIR PART…` where a part is a name of FAKES.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline_admin.bootstrap.parts import Part
from pipeline_admin.bootstrap.refusal import Refusal
from pipeline_admin.bootstrap.supervisor import StopRequest, Supervisor

NOTE_END = "signal.signal(15, lambda *_: (print('asked to stop', flush=True), sys.exit()))"
FAKES = {
    "first": f"{NOTE_END}; time.sleep(600)",
    "second": f"{NOTE_END}; time.sleep(600)",
    "deaf": "signal.signal(15, signal.SIG_IGN); time.sleep(600)",
    "mother": "subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)']); "
    "time.sleep(600)",
    "broken": "print('the reason it broke', flush=True); sys.exit(3)",
}
IMPORTS = "import signal, subprocess, sys, time; "


def fake(name: str) -> Part:
    """The part of that name; its process shows the name in the process list."""
    command = (sys.executable, "-S", "-c", IMPORTS + FAKES[name])
    return Part(name=name, command=command, up_after_s=0.2, stop_timeout_s=1.0)


def main() -> int:
    """Run the parts, one tier each, until a signal comes."""
    data_dir, names = Path(sys.argv[1]), sys.argv[2:]
    with StopRequest() as stop_request:
        supervisor = Supervisor(data_dir, stop_request)
        try:
            for name in names:
                supervisor.start([fake(name)])
            supervisor.wait_until_up()
            supervisor.watch()
        except Refusal as refusal:
            sys.stdout.write(f"{refusal}\n")
            return 1
        finally:
            supervisor.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
