"""What planting a fault needs of training: to let a model get used to a change."""
