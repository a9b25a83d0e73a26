"""The checks: pure functions from what was seen to findings, in the order in which they are read."""
