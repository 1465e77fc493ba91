"""One run, many runs, and the record that each files."""
