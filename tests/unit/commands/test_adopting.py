"""Site files that were written by hand, as templates."""

from __future__ import annotations

import pytest

from devflow.commands.adopting import adopted, follow_domains, unnamed
from devflow.core.errors import ConflictError

DOMAINS = ("shop.test", "www.shop.test")
BY_HAND = """\
# proxy_pass http://127.0.0.1:9999;
upstream shop { server 127.0.0.1:3000; keepalive 8; }
server {
  listen 443 ssl; server_name shop.test  WWW.shop.test;
  ssl_certificate /etc/ssl/shop.pem;
  add_header X-Text "a; server_name other.test; }";
  location /api/ { proxy_pass http://shop/v1/; }
  location / { proxy_pass http://shop; }
}
server { listen 80 default_server; server_name _; return 301 https://shop.test$request_uri; }
"""


def application(text: str) -> str:
    return adopted(text, domains=DOMAINS, serves="upstream").template


def server(inside: str, name: str = "shop.test") -> str:
    return f"server {{ listen 80; server_name {name}; {inside} }}\n"


def test_the_address_of_the_application_becomes_that_of_the_release() -> None:
    made = adopted(BY_HAND, domains=DOMAINS, serves="upstream")
    wanted = BY_HAND.replace("upstream shop { server 127.0.0.1:3000; keepalive 8; }", "")
    assert made.template == wanted.replace("http://shop", "http://@upstream@").strip()
    assert "The upstream shop was taken out" in made.notes[1]


@pytest.mark.parametrize(
    ("passed", "template"),
    [
        ("http://127.0.0.1:3000", "http://@upstream@"),
        ("http://localhost:3000/app/", "http://@upstream@/app/"),
        ("http://[::1]:3000", "http://@upstream@"),
        ("http://localhost:3000$request_uri", "http://@upstream@$request_uri"),
        ("http://unix:/run/app.sock:/app/", "http://@upstream@/app/"),
        ("http://unix:/run/app.sock", "http://@upstream@"),
    ],
)
def test_addresses_of_this_machine(passed: str, template: str) -> None:
    assert f"proxy_pass {template};" in application(server(f"location / {{ proxy_pass {passed}; }}"))


def test_what_is_elsewhere_stays() -> None:
    inside = (
        "location / { proxy_pass http://127.0.0.1:3000; } location /search { proxy_pass http://search.internal:9200; }"
    )
    made = adopted(server(inside), domains=DOMAINS, serves="upstream")
    assert "http://search.internal:9200" in made.template
    assert "Requests to search.internal:9200 are left as they are." in made.notes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (server("proxy_pass http://127.0.0.1:1;", "shop.test blog.test"), "serves blog.test too"),
        (server("proxy_pass http://127.0.0.1:1;") + server("return 204;", "~^x"), "serves ~^x too"),
        (server("root /srv/www;"), "passes no requests on"),
        (server("proxy_pass http://$backend;"), "passes no requests on"),
        (server("proxy_pass https://127.0.0.1:1;"), "passes no requests on"),
        (
            server("location / { proxy_pass http://127.0.0.1:1; } location /a { proxy_pass http://127.0.0.1:2; }"),
            "on to 127.0.0.1:1, 127.0.0.1:2: which of them",
        ),
        ("events { }\nhttp { " + server("proxy_pass http://127.0.0.1:1;") + " }", "main configuration"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_what_to_do(text: str, told: str) -> None:
    with pytest.raises(ConflictError, match=told.replace("~^", "~.")):
        application(text)


def files(text: str, serves: str = "static") -> tuple[str, str]:
    made = adopted(text, domains=DOMAINS, serves=serves, folder="/srv/shop/current")
    return made.template, " ".join(made.notes)


def test_the_one_root_becomes_the_release() -> None:
    template, notes = files(server("root '/var/www/shop';"))
    assert "root /srv/shop/current;" in template
    assert "no longer that folder" in notes


def test_several_roots_are_left() -> None:
    text = server("root /var/www/shop; location /files { root /srv/files; }")
    template, notes = files(text)
    assert template == text.strip()
    assert "/srv/files, /var/www/shop are left as they are" in notes


def test_php_by_another_than_the_real_path_is_told() -> None:
    inside = "root /srv/shop/current; location ~ \\.php$ { include snippets/fastcgi-php.conf; fastcgi_pass unix:/r; }"
    assert "$realpath_root" in files(server(inside), "php")[1]
    assert "$realpath_root" not in files(server(inside + " # $realpath_root"), "php")[1]


@pytest.mark.parametrize(
    ("names", "followed"),
    [
        ("shop.test www.shop.test", "@domains@"),
        ("Shop.test\n    www.shop.test", "@domains@"),
        ("a.test shop.test www.shop.test b.test", "a.test @domains@ b.test"),
        ("www.shop.test", "www.shop.test"),
        ("www.shop.test shop.test", "www.shop.test shop.test"),
        ("shop.test # not yet: x.test;\n www.shop.test", "shop.test # not yet: x.test;\n www.shop.test"),
    ],
)
def test_the_names_of_the_site_follow_the_domains(names: str, followed: str) -> None:
    inside = "add_header X 'server_name shop.test www.shop.test;';"
    assert follow_domains(server(inside, names), DOMAINS) == server(inside, followed)
    assert follow_domains(server(inside, names), ()) == server(inside, names)


def test_each_block_of_the_site_follows_the_domains() -> None:
    text = server("return 301 https://$host$request_uri;") + server("root /srv;")
    assert follow_domains(text, ["shop.test"]) == text.replace("shop.test", "@domains@")


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (server("", "@domains@"), ()),
        (server("", "Shop.test") + server("", "'www.shop.test'"), ()),
        (server(""), ("www.shop.test",)),
        (server("", "other.test # shop.test\n"), DOMAINS),
        (server("", "*.shop.test"), ("shop.test",)),
        (server("", ".shop.test"), ()),
        (server("", "shop.* www.shop.*"), ()),
        (server("", "~^(www\\.)?shop"), ()),
        (server("", "_"), DOMAINS),
        ("server { listen 80 default_server; server_name _; }", ()),
        ("server { listen 81; }", ()),
        (server("", "other.test").replace("server_name", "@listen6@\n server_name"), DOMAINS),
        ("no configuration", ()),
    ],
)
def test_domains_that_an_own_site_file_does_not_name_are_found(text: str, missing: tuple[str, ...]) -> None:
    assert unnamed(text, DOMAINS) == missing


def test_a_domain_with_a_star_is_named_by_the_same_word() -> None:
    assert unnamed(server("", "*.shop.test"), ["*.shop.test", "*.b.test"]) == ("*.b.test",)
