"""Show a result: figures and one self-contained HTML page."""
