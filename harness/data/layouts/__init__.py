"""The layouts that data can have on disk, one reader each."""
