"""The standards: pure functions and frozen values, one module per RFC. No I/O, no clock, no logging, no framework."""
