"""The one scorer: every score of a record, from its lines alone."""
