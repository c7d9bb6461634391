"""The page that shows the interface in a browser: Swagger UI, with all it needs from this server and nowhere else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files

from fastapi import FastAPI, Response

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}

# Addresses are relative, so that the page also works below a path of a proxy.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Churn decisions</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="interface"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#interface",
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: false,
});
"""
_BUNDLED = {
    "favicon.png": "image/png",
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}
DOCS_PATHS = frozenset({"/docs", "/docs/start.js", *(f"/docs/{name}" for name in _BUNDLED)})
"""All that the page is made of, its description apart."""


def show_docs(app: FastAPI) -> None:
    """Serve the page at `/docs`, and what it needs below it."""

    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        return Response(_PAGE, headers=_HEADERS, media_type="text/html")

    @app.get("/docs/start.js", include_in_schema=False)
    async def start() -> Response:
        return Response(_START, headers=_HEADERS, media_type="text/javascript")

    for name, kind in _BUNDLED.items():
        app.get(f"/docs/{name}", include_in_schema=False)(_bundled(name, kind))


def _bundled(name: str, kind: str) -> Callable[[], Awaitable[Response]]:
    async def file() -> Response:
        return Response(_content(name), headers=_HEADERS, media_type=kind)

    return file


@cache
def _content(name: str) -> bytes:
    """Of Swagger UI (Apache-2.0), as the package `fastapi-offline` (MIT) brings it."""
    return (files("fastapi_offline") / "static" / name).read_bytes()
