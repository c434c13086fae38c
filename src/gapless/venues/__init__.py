"""One file for each venue: its facts and its dialect.  Pure, and ignorant of each other."""
