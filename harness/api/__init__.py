"""What `harness` offers to Python: evaluate, load, compare and verify, and the frozen results that they return."""
