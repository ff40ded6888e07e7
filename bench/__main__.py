"""`python -m bench [NAME]...`: runs the benchmarks named, or all."""

from __future__ import annotations

import argparse
import importlib
import sys

# Name → module with a `main()`, imported only when it runs.
BENCHMARKS = {
    "deploy": "bench.deploy",
    "fleet": "bench.fleet",
    "stream": "bench.stream",
    "idle": "bench.idle",
    "laravel": "bench.laravel",
    "webhooks": "bench.webhooks",
    "traffic": "bench.traffic",
    "api": "bench.api",
    "pages": "bench.pages",
    "screens": "bench.screens",
    "deployments": "bench.deployments",
    "logs": "bench.logs",
    "retention": "bench.retention",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bin/bench", description="One JSON object per line; see docs/performance.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *BENCHMARKS], help=", ".join(BENCHMARKS))
    for name in parser.parse_args().names or BENCHMARKS:
        importlib.import_module(BENCHMARKS[name]).main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
