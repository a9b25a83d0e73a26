"""The benchmark of the project: `./scripts/bench` runs it, and docs/performance.md tells how it measures."""
