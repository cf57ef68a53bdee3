"""The reference as a page: the OpenAPI document written out by the server, with nothing loaded from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from api.auth import ROLE

router = APIRouter(include_in_schema=False)

HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d232b}
h2{margin-top:3rem;text-transform:capitalize}article{border-top:1px solid #d5dae1;padding:1rem 0}
h3{font-family:ui-monospace,monospace;font-size:1rem;margin:0}table{border-collapse:collapse}
td,th{text-align:left;padding:.15rem 1rem .15rem 0;vertical-align:top}
pre{background:#f4f6f8;padding:.75rem;overflow:auto}code{font-size:.9em}.role{color:#5a6675}
@media(prefers-color-scheme:dark){body{background:#14181d;color:#dde3ea}pre{background:#1e242b}}
"""


@router.get("/docs", response_class=HTMLResponse)
def docs(request: Request) -> HTMLResponse:
    """Every operation with its parameters, bodies and responses."""
    document = request.app.openapi()
    tags: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tags.setdefault(operation["tags"][0], []).append("".join(_operation(method, path, operation)))
    body = "".join(f"<section><h2>{escape(tag)}</h2>{''.join(found)}</section>" for tag, found in tags.items())
    return HTMLResponse("".join(_page(document, body)), headers=HEADERS)


def _page(document: Mapping[str, Any], body: str) -> Iterator[str]:
    info = document["info"]
    yield "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    yield f"<title>{escape(info['title'])} API</title><style>{STYLE}</style>"
    yield f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
    yield f"<p>For programs: <a href=openapi.json>openapi.json</a>.</p>{body}<section id=schemas><h2>Schemas</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        shown = escape(json.dumps(schema, indent=1, ensure_ascii=False))
        yield f"<details id='{escape(name)}'><summary>{escape(name)}</summary><pre>{shown}</pre></details>"
    yield "</section></html>"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    role = f" <span class=role>role {escape(operation[ROLE])}</span>" if ROLE in operation else ""
    yield f"<article id='{escape(operation['operationId'])}'><h3>{method.upper()} {escape(path)}{role}</h3>"
    yield f"<p><strong>{escape(operation['summary'])}.</strong> {escape(operation.get('description', ''))}</p><table>"
    for one in operation.get("parameters", ()):
        need = "required" if one.get("required") else "optional"
        yield f"<tr><td><code>{escape(one['name'])}</code><td>{one['in']}, {need}"
        yield f"<td>{escape(one.get('description', ''))}</tr>"
    yield from (_content("body", kind, media) for kind, media in _contents(operation.get("requestBody")))
    for status, response in operation["responses"].items():
        kinds = "".join(_content(status, kind, media) for kind, media in _contents(response))
        yield kinds or f"<tr><td>{escape(status)}<td><td>{escape(response['description'])}</tr>"
    yield "</table></article>"


def _contents(holder: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, Any]]]:
    return list((holder or {}).get("content", {}).items())


def _content(label: str, kind: str, media: Mapping[str, Any]) -> str:
    name = media.get("schema", {}).get("$ref", "").rpartition("/")[2]
    link = f"<a href='#{escape(name)}'>{escape(name)}</a>" if name else ""
    return f"<tr><td>{escape(label)}<td>{escape(kind)}<td>{link}</tr>"
