"""What curves and scores add up to: health, waterfall, and the stage that loses the class. Without torch."""
