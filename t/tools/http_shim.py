#!/usr/bin/env python3
"""An application in front of the database, for scripts/sqlmap: each parameter of a request is a bound parameter of one statement.

    http_shim.py            listens on a port of 127.0.0.1 that it prints; connects as libpq's environment says

An answer is the statement's first value; an error is told with its SQLSTATE and text, as a careless application would, so that who
attacks sees all there is to see. /control is what must not be: it builds its statement of what it is given. /asked tells how many requests came.
"""
import ctypes
import ctypes.util
import http.server
import urllib.parse

# Of a vector and of a key only the size: they change like noise with each text, which sqlmap takes for an answer, and then leaves out
# most of its tests.
STATEMENTS = {
    "/generate": ("SELECT steadytext_generate($1, 16, model => $2, unsafe_mode => true)", ["prompt", "model"]),
    "/embed": ("SELECT vector_dims(steadytext_embed($1))", ["text"]),
    "/rerank": ("SELECT json_agg(r) FROM steadytext_rerank($1, ARRAY[$2, 'another']) r", ["query", "document"]),
    "/json": ("SELECT steadytext_generate_json($1, $2::jsonb, 16)", ["prompt", "schema"]),
    "/regex": ("SELECT steadytext_generate_regex($1, $2, 16)", ["prompt", "pattern"]),
    "/validate_table_name": ("SELECT steadytext_validate_table_name($1)", ["name"]),
    "/enqueue": ("SELECT steadytext_enqueue($1, jsonb_build_object('prompt', $2))", ["type", "prompt"]),
    "/cache_key": ("SELECT length(steadytext_cache_key($1, '{}', $2))", ["prompt", "prefix"]),
    "/config_get": ("SELECT steadytext_config_get($1)", ["key"]),
    "/rate_limit_set": ("SELECT steadytext_rate_limit_set($1::name, $2, 1000)", ["role", "operation"]),
}

libpq = ctypes.CDLL(ctypes.util.find_library("pq"))
for function in ("PQconnectdb", "PQexec", "PQexecParams"):
    getattr(libpq, function).restype = ctypes.c_void_p
for function in ("PQgetvalue", "PQresultErrorField", "PQerrorMessage"):
    getattr(libpq, function).restype = ctypes.c_char_p
TUPLES_OK = 2
SQLSTATE, PRIMARY, DETAIL = (ord(letter) for letter in "CMD")


class Connection:
    def __init__(self):
        self._connection = ctypes.c_void_p(libpq.PQconnectdb(b""))
        if libpq.PQstatus(self._connection) != 0:
            raise ConnectionError(libpq.PQerrorMessage(self._connection).decode())
        libpq.PQclear(ctypes.c_void_p(libpq.PQexec(self._connection, b"SET client_min_messages = error")))

    def value(self, statement: str, values: list[str]) -> str:
        bound = (ctypes.c_char_p * len(values))(*(value.encode("utf-8", "replace") for value in values))
        result = ctypes.c_void_p(libpq.PQexecParams(self._connection, statement.encode("utf-8", "replace"), len(values), None, bound, None, None, 0))
        try:
            if libpq.PQresultStatus(result) == TUPLES_OK:
                return libpq.PQgetvalue(result, 0, 0).decode("utf-8", "replace") if libpq.PQntuples(result) > 0 else ""
            return " ".join((libpq.PQresultErrorField(result, field) or b"").decode("utf-8", "replace") for field in (SQLSTATE, PRIMARY, DETAIL))
        finally:
            libpq.PQclear(result)


class Handler(http.server.BaseHTTPRequestHandler):
    session: Connection
    asked = 0

    def do_GET(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        given = {name: values[0].replace("\0", "") for name, values in
                 urllib.parse.parse_qs(address.query, keep_blank_values=True, errors="replace").items()}
        if address.path == "/asked":
            body = str(Handler.asked)
        elif address.path == "/control":
            body = self.session.value(f"SELECT 'found' WHERE 'word' = '{given.get('word', '')}'", [])
        elif address.path in STATEMENTS:
            statement, names = STATEMENTS[address.path]
            body = self.session.value(statement, [given.get(name, "") for name in names])
        else:
            self.send_error(404)
            return
        Handler.asked += address.path != "/asked"
        page = f"<html><body>{body}</body></html>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        try:
            self.wfile.write(page)
        except BrokenPipeError:
            pass  # who asked has seen enough

    def log_message(self, format: str, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    Handler.session = Connection()
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
