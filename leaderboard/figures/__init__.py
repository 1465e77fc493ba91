"""The figures: SVG as text, in the colours of the page that holds them, or standing by themselves."""
