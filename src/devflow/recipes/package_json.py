"""What a commit's package.json tells: whether the project runs and answers requests itself, or is only built."""

from __future__ import annotations

import json
import re

from devflow.engine.task import Tree

_SERVERS = frozenset(
    {
        "@adonisjs/core",
        "@apollo/server",
        "@astrojs/node",
        "@feathersjs/feathers",
        "@hapi/hapi",
        "@hono/node-server",
        "@nestjs/core",
        "@remix-run/node",
        "@remix-run/serve",
        "@strapi/strapi",
        "@sveltejs/adapter-node",
        "express",
        "fastify",
        "h3",
        "keystone",
        "koa",
        "next",
        "nitropack",
        "nuxt",
        "polka",
        "restify",
        "sails",
        "socket.io",
    }
)
"""Packages that answer requests in production."""
_SERVERS_FOR_THE_BUILD = frozenset({"@sveltejs/adapter-node", "@astrojs/node", "nuxt", "nitropack"})
"""Those of them that are also found among the dev dependencies."""
_SHOWS_A_SITE = frozenset(
    {
        "@11ty/eleventy",
        "astro",
        "dev",
        "docusaurus",
        "eleventy",
        "gatsby",
        "http-server",
        "live-server",
        "ng",
        "parcel",
        "react-scripts",
        "serve",
        "snowpack",
        "vite",
        "vitepress",
        "vue-cli-service",
        "vuepress",
        "webpack",
        "webpack-dev-server",
    }
)
"""Programs that a `start` script calls to show a site while it is worked on; what is served is what the build made."""


def runs_a_server(tree: Tree) -> bool:
    """True where the package.json is known to be that of something that runs and answers requests itself."""
    package = _package(tree)
    if _SERVERS & _mapping(package, "dependencies").keys():
        return True
    if _SERVERS_FOR_THE_BUILD & _mapping(package, "devDependencies").keys():
        return True
    start = _mapping(package, "scripts").get("start")
    if isinstance(start, str):
        last = re.split(r"&&|\|\||;", start)[-1]
        return not _SHOWS_A_SITE & set(last.split())
    return "package.json" in tree.files and "server.js" in tree.files  # what `npm start` runs without a script


def is_only_built(tree: Tree) -> bool:
    """True where the package.json is known to build something, and not to run anything."""
    return not runs_a_server(tree) and bool(_mapping(_package(tree), "scripts").get("build"))


def _package(tree: Tree) -> dict[str, object]:
    """What package.json says; nothing where it is broken, which is for npm to tell."""
    try:
        found = json.loads(tree.contents.get("package.json", ""))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _mapping(package: dict[str, object], key: str) -> dict[str, object]:
    found = package.get(key)
    return found if isinstance(found, dict) else {}
