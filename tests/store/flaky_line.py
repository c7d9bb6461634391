"""A line to a storage server on which a test lets requests be refused, cut off or garbled on their way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import requests

Rule = Callable[[str, str, bytes], "int | str | bytes"]
"""Given method, path and body: a status to answer with; "pass"; "unanswered" (done, then the line is cut); or the
body to hand on in place of the one that came."""


@contextmanager
def flaky_line(server: str, rule: Rule) -> Iterator[str]:
    """URL of a proxy in front of ``server``; what ``rule`` says of a request happens to it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            verdict = rule(self.command, self.path, body)
            if isinstance(verdict, int):
                self.send_response(verdict)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            if isinstance(verdict, bytes):
                body = verdict
            answer = requests.request(
                self.command, server + self.path, headers=headers, data=body, timeout=30, stream=True
            )
            content = answer.raw.read()
            if verdict == "unanswered":
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in ("Transfer-Encoding", "Content-Length", "Connection"):
                    self.send_header(name, value.replace(server, f"http://{self.headers['Host']}"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = serve  # noqa: N815 - the names that the server looks for

        def log_message(self, *_: object) -> None:
            """Stays silent."""

    line = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=line.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{line.server_address[1]}"
    finally:
        line.shutdown()
        line.server_close()
