"""What several engines are made of."""
