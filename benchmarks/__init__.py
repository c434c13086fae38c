"""Benchmarks: ratios from interleaved runs, CPU time from getrusage, never a test."""
