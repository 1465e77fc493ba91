"""The one definition of a result, and the files that hold it."""
