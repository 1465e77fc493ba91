"""Two engines with one model: a fast one answers, one that can look inside watches."""
