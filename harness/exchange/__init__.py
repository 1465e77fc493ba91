"""Results that leave or come in: the hub, model cards, boards."""
