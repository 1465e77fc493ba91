"""A board: its folder, its entries, and how they stand."""
