"""Whole-client tools for tests: virtual time, in-memory network, simulation."""
