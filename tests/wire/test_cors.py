"""CORS per site (Fetch standard): whose scripts may read answers, on hits, misses, errors and what is passed through;
what the origin says of it does not appear beside."""
import pytest

from support.node import Node, run_segue
from support.settings import config_for

ANNA, BERT = "https://anna.example", "https://bert.example:8443"
OF_THE_ORIGIN = {
    "Access-Control-Allow-Origin": "https://origin.example",
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": "X-Origin",
    "Access-Control-Allow-Methods": "PUT",
    "Access-Control-Max-Age": "5",
    "Timing-Allow-Origin": "https://origin.example",
}


def words(response):
    """Every field that CORS knows."""
    return [
        (name.lower(), value)
        for name, value in response.fields
        if name.lower().startswith("access-control-") or name.lower() == "timing-allow-origin"
    ]


@pytest.mark.parametrize("passed", [False, True], ids=["stored", "passed"])
def test_the_origins_own_words_do_not_appear_beside_ours(node, origin, passed):
    origin.add("/t", 1000, fields={**OF_THE_ORIGIN, **({"Cache-Control": "no-store"} if passed else {})})
    for _ in range(2):
        response = node.fetch("/t", Origin=ANNA)
        assert response.status == 200
        said = words(response)
        assert len(said) == len({name for name, _ in said}) == 3
        assert dict(said)["access-control-allow-origin"] == "*"
        assert not [value for _, value in said if "origin.example" in value]


def test_a_304_brings_no_words_of_the_origin(origin):
    with Node(config_for(origin.url, site='ttl = { override = "1ms" }')) as node:
        origin.add("/t", 1000, fields=OF_THE_ORIGIN)
        for _ in range(3):
            assert response_origins(node.fetch("/t")) == ["*"]


def response_origins(response):
    return [value for name, value in words(response) if name == "access-control-allow-origin"]


def test_off_leaves_cors_to_the_origin(origin):
    with Node(config_for(origin.url, site='cors = "off"')) as node:
        origin.add("/t", 1000, fields=OF_THE_ORIGIN)
        assert response_origins(node.fetch("/t")) == ["https://origin.example"]
        assert response_origins(node.fetch("/t")) == ["https://origin.example"]
        assert words(node.fetch("/none")) == []
        asked = {"Origin": ANNA, "Access-Control-Request-Method": "GET"}
        assert words(node.fetch("/t", method="OPTIONS", **asked)) == []


def test_of_several_origins_each_is_told_its_own(origin):
    with Node(config_for(origin.url, site=f'cors = ["{ANNA}", "{BERT}"]')) as node:
        origin.add("/t", 1000)
        for asking, told in [(ANNA, [ANNA]), (BERT, [BERT]), ("https://eve.example", []), ("null", []), (None, [])]:
            fields = {"Origin": asking} if asking else {}
            for target in ("/t", "/t", "/none"):
                response = node.fetch(target, **fields)
                assert response_origins(response) == told
                assert "Origin" in ",".join(response.all("Vary"))
            preflight = node.fetch("/t", method="OPTIONS", Access_Control_Request_Method="GET", **fields)
            assert preflight.status == 204 and response_origins(preflight) == told


@pytest.mark.parametrize(
    "value,said",
    [
        ('["*", "https://a.example"]', "stand alone"),
        ('["off", "https://a.example"]', "stand alone"),
        ('"https://a.example/path"', "not allowed here"),
        ('"a.example"', "not allowed here"),
    ],
)
def test_check_names_what_is_no_origin(tmp_path, value, said):
    file = tmp_path / "segue.toml"
    file.write_text(config_for("http://origin.example", site=f"cors = {value}"))
    checked = run_segue("check", str(file))
    assert checked.returncode == 1 and "cors" in checked.stderr and said in checked.stderr
