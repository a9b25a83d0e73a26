"""What ends the benchmark."""


class BenchmarkError(Exception):
    """Something was answered wrongly, or what the benchmark needs is missing: no figure would be worth anything."""
