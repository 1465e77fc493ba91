"""Show a board: one self-contained HTML page, sorted and filtered in the browser."""
