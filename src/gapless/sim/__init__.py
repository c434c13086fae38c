"""Exchange simulator: an independent reading of the venues' documents.

It shares no code with the venue codecs, so that a misreading on one side shows as a
disagreement instead of cancelling out.
"""
