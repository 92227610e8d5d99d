"""Cheap questions to a server: does it answer yet? Each gives True or False and never raises."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

ANSWER_TIMEOUT_S = 2.0


def valkey_answers(socket_path: Path) -> bool:
    """Whether the server answers PING (while it still loads its file it answers -LOADING)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_TIMEOUT_S)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def http_answers(port: int, path: str, host: str = "127.0.0.1") -> bool:
    """Whether GET of the path is answered with status 200."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
