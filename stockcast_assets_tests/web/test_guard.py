"""The guard alone, around an application that notes all it is asked: what comes from elsewhere never reaches it."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from stockcast_assets.web.guard import Guard, Policy

OWN = "http://localhost:3000"
JSON = "application/json"
POLICY = Policy(
    csp="default-src 'self'",
    post_types=frozenset({JSON}),
    post_only=frozenset({"/graphql"}),
    closed=("/notebook/",),
)
SPOOFS = (
    "evil.com",
    "evil.com:3000",
    "localhost.evil.com:3000",
    "127.0.0.1.nip.io:3000",
    "localhost.:3000",
    "localhost:3000:3000",
    "localhost@evil.com",
    "evil.com#localhost",
    "evil.com, localhost",
    "0.0.0.0:3000",
    "127.1:3000",
    "2130706433:3000",
    "[::ffff:127.0.0.1]:3000",
    "localhost:३०००",
    "",
)
FOREIGN = (
    "http://evil.com",
    "https://evil.com",
    "http://localhost:3001",
    "http://localhost",
    "http://127.0.0.1:3000",
    "http://localhost:3000.evil.com",
    "http://localhost:3000@evil.com",
    "http://localhost:30000",
    "file://localhost:3000",
    "http://localhost:3000/",
    "localhost:3000",
    "null",
    "",
)


@dataclass
class Noting:
    """Behind the guard: an application, and the requests that reached it."""

    reached: list[str] = field(default_factory=list)

    def client(self, *hosts: str, policy: Policy = POLICY) -> TestClient:
        async def answer(request: Request) -> HTMLResponse:
            self.reached.append(f"{request.method} {request.url.path}")
            headers = {
                "Access-Control-Allow-Origin": "*",
                "X-Frame-Options": "ALLOWALL",
                "Content-Security-Policy": "a",
            }
            return HTMLResponse("<p>page</p>", headers=headers)

        async def talk(socket: WebSocket) -> None:
            self.reached.append(f"WebSocket {socket.url.path}")
            await socket.accept()
            await socket.send_text("hello")
            await socket.close()

        methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
        routes = [WebSocketRoute("/graphql", talk), Route("/{path:path}", answer, methods=methods)]
        return TestClient(Guard(Starlette(routes=routes), hosts, policy), OWN)


@pytest.fixture
def noting() -> Noting:
    return Noting()


def test_its_own_pages_may_do_everything(noting: Noting) -> None:
    client = noting.client()
    own = {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}
    assert client.get("/").status_code == 200
    assert client.post("/graphql", json={}, headers=own).status_code == 200
    assert client.put("/artifact", content=b"", headers=own).status_code == 200
    with client.websocket_connect("/graphql", headers={"Host": "localhost:3000", "Origin": OWN}) as socket:
        assert socket.receive_text() == "hello"
    assert len(noting.reached) == 4


def test_a_program_that_is_no_browser_is_let_in(noting: Noting) -> None:
    assert noting.client().post("/graphql", json={}).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3000", "127.0.0.1:8080", "[::1]:3000", "[::1]"])
def test_loopback_is_answered_under_each_of_its_names(noting: Noting, host: str) -> None:
    assert noting.client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", SPOOFS)
def test_no_other_host_is_answered(noting: Noting, host: str) -> None:
    client = noting.client()
    for answer in (
        client.get("/", headers={"Host": host.encode()}),
        client.post("/graphql", json={}, headers={"Host": host.encode(), "Origin": f"http://{host}".encode()}),
    ):
        assert answer.status_code == 403
        assert "STOCKCAST_ALLOWED_HOSTS" in answer.text
    assert noting.reached == []


def test_a_second_host_header_is_not_answered(noting: Noting) -> None:
    twice = [("Host", "localhost:3000"), ("Host", "evil.com")]
    assert noting.client().get("/", headers=twice).status_code == 403
    assert noting.reached == []


def test_a_proxy_cannot_be_played_by_forwarded_headers(noting: Noting) -> None:
    forwarded = {"X-Forwarded-Host": "localhost:3000", "Forwarded": "host=localhost:3000"}
    assert noting.client().get("/", headers={"Host": "evil.com", **forwarded}).status_code == 403


def test_a_named_host_is_answered_and_its_port_counts_if_it_was_named(noting: Noting) -> None:
    client = noting.client("stockcast.example.com", "other.example.com:8080")
    for host, status in (
        ("stockcast.example.com", 200),
        ("Stockcast.Example.com:443", 200),
        ("other.example.com:8080", 200),
        ("other.example.com:8081", 403),
        ("other.example.com", 403),
        ("evil.stockcast.example.com", 403),
    ):
        assert client.get("/", headers={"Host": host}).status_code == status, host


def test_behind_a_proxy_that_speaks_tls_the_origin_is_the_host_s(noting: Noting) -> None:
    client = noting.client("stockcast.example.com")
    for host, origin, status in (
        ("stockcast.example.com", "https://stockcast.example.com", 200),
        ("stockcast.example.com:443", "https://stockcast.example.com", 200),
        ("stockcast.example.com", "https://stockcast.example.com:8443", 403),
        ("stockcast.example.com", "https://localhost", 403),
    ):
        answer = client.post("/graphql", json={}, headers={"Host": host, "Origin": origin})
        assert answer.status_code == status, (host, origin)


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_origin_may_do_nothing(noting: Noting, origin: str) -> None:
    client = noting.client()
    headers = {"Origin": origin}
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = client.request(method, "/graphql", headers=headers, json={})
        assert answer.status_code == 403, method
        assert not any(name.startswith("access-control-") for name in answer.headers)
    assert noting.reached == []


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_origin_opens_no_websocket(noting: Noting, origin: str) -> None:
    refused = {"Host": "localhost:3000", "Origin": origin}
    with pytest.raises(WebSocketDisconnect), noting.client().websocket_connect("/graphql", headers=refused):
        pass
    assert noting.reached == []


@pytest.mark.parametrize("host", SPOOFS)
def test_a_rebound_name_opens_no_websocket(noting: Noting, host: str) -> None:
    headers = {"Host": host.encode(), "Origin": f"http://{host}".encode()}
    with pytest.raises(WebSocketDisconnect), noting.client().websocket_connect("/graphql", headers=headers):
        pass
    assert noting.reached == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "SAME-ORIGIN", "anything"])
def test_what_the_browser_calls_another_site_loads_nothing(noting: Noting, site: str) -> None:
    client = noting.client()
    for kind in ("image", "script", "style", "iframe", "embed", "object", "empty", "audio"):
        mode = "navigate" if kind in ("iframe", "embed", "object") else "no-cors"
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": kind}
        assert client.get("/", headers=headers).status_code == 403, kind
    assert noting.reached == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", ""])
def test_only_its_own_page_changes_something_whatever_else_the_browser_says(noting: Noting, site: str) -> None:
    client = noting.client()
    for headers in ({"Sec-Fetch-Site": site}, {"Sec-Fetch-Site": site, "Origin": OWN}):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert client.request(method, "/graphql", json={}, headers=headers).status_code == 403
    assert noting.reached == []


def test_a_link_from_another_site_opens_a_page_but_sends_no_form(noting: Noting) -> None:
    client = noting.client()
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/runs", headers=link).status_code == 200
    assert client.post("/graphql", json={}, headers=link).status_code == 403
    assert client.get("/graphql?query=mutation", headers=link).status_code == 405
    assert noting.reached == ["GET /runs"]


@pytest.mark.parametrize("query", ["query=mutation%7Bx%7D", "query=%7Bversion%7D", "variables=1&query=a"])
def test_nothing_is_executed_by_get(noting: Noting, query: str) -> None:
    for method in ("GET", "HEAD"):
        assert noting.client().request(method, f"/graphql?{query}").status_code == 405
    assert noting.reached == []


@pytest.mark.parametrize(
    "media",
    [
        None,
        "text/plain",
        "text/plain; x=application/json",
        "text/plain;application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "application/graphql",
        "application/jsonp",
        "",
    ],
)
def test_what_a_form_can_send_is_not_taken(noting: Noting, media: str | None) -> None:
    headers = {} if media is None else {"Content-Type": media}
    answer = noting.client().post("/graphql?query=mutation", content=b'{"query": "mutation"}', headers=headers)
    assert answer.status_code == 415
    assert noting.reached == []


def test_one_content_type_counts_and_not_two(noting: Noting) -> None:
    twice = [("Content-Type", JSON), ("Content-Type", "text/plain")]
    assert noting.client().post("/graphql", content=b"{}", headers=twice).status_code == 415


def test_without_a_list_every_type_but_a_form_s_is_taken(noting: Noting) -> None:
    client = noting.client(policy=Policy(csp="a"))
    assert client.post("/", content=b"", headers={"Content-Type": "application/x-protobuf"}).status_code == 200
    assert client.post("/", content=b"", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post("/", content=b"").status_code == 415


@pytest.mark.parametrize("path", ["/logs/%2e%2e/%2e%2e/etc/passwd", "/a/..%2f..%2fb", "/a/%5c..%5cb", "/%00"])
def test_no_path_leads_out(noting: Noting, path: str) -> None:
    assert noting.client().get(path).status_code == 400
    assert noting.reached == []


def test_what_is_switched_off_is_not_there(noting: Noting) -> None:
    client = noting.client()
    assert client.get("/notebook").status_code == 404
    assert client.get("/notebook/a?path=a.ipynb").status_code == 404
    assert client.get("/notebooks").status_code == 200


def test_every_answer_says_what_it_may_do_in_a_browser(noting: Noting) -> None:
    client = noting.client()
    for answer in (client.get("/"), client.get("/", headers={"Host": "evil.com"}), client.get("/notebook")):
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers
    assert client.get("/").headers.get_list("content-security-policy")[0] == "a", "the application's own counts as well"
    embedding = noting.client(policy=Policy(csp="a", embeds_itself=True)).get("/")
    assert embedding.headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in embedding.headers["content-security-policy"]


def test_what_the_application_puts_into_a_sandbox_keeps_to_its_own_policy() -> None:
    async def report(_: Request) -> HTMLResponse:
        return HTMLResponse("", headers={"Content-Security-Policy": "sandbox allow-scripts; default-src 'none'"})

    answer = TestClient(Guard(Starlette(routes=[Route("/", report)]), [], POLICY), OWN).get("/")
    policies = answer.headers.get_list("content-security-policy")
    assert policies == ["sandbox allow-scripts; default-src 'none'", "frame-ancestors 'none'"]


HEADER = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


@given(host=HEADER)
def test_a_host_is_answered_only_if_it_is_a_name_of_loopback_with_or_without_a_port(host: str) -> None:
    noting = Noting()
    status = noting.client().get("/", headers={"Host": host}).status_code
    name, colon, port = host.lower().rpartition(":")
    own = ("localhost", "127.0.0.1", "[::1]")
    ours = host.lower() in own or (bool(colon) and name in own and port.isdigit())
    assert (status == 200) == ours
    assert bool(noting.reached) == ours


@given(origin=HEADER | st.sampled_from(FOREIGN) | HEADER.map(lambda text: f"http://{text}"))
def test_an_origin_may_post_only_if_it_is_the_host_s(origin: str) -> None:
    noting = Noting()
    status = noting.client().post("/graphql", json={}, headers={"Origin": origin}).status_code
    ours = origin.lower() in (OWN, "https://localhost:3000")
    assert (status == 200) == ours
    assert bool(noting.reached) == ours
