"""Faults on purpose: a simulated venue, fault proxies, the real client, and a checker of histories.

`checker` reads two logs, what the venue really did and what the consumer was given, and knows
nothing of how the client works.
"""
