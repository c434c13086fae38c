"""Measuring the way to a venue, and judging what was measured."""
