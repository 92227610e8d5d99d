#!/usr/bin/env python3
"""The one command of the project: `up`, `test`, `install`, or any Django management command.

This file must parse under every Python 3, so that an old one gets a sentence and no traceback.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "Pipeline Admin needs Python 3.11 or newer, and this is Python %d.%d (%s).\n"  # noqa: UP031
        "Install a newer one and call it by its name, for example: python3.12 manage.py up"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )

if __name__ == "__main__":
    from pipeline_admin.bootstrap.commands import main

    sys.exit(main(sys.argv))
