"""Benchmarks: `bin/bench [NAME]...`, one JSON object per line; docs/performance.md says how they measure."""
