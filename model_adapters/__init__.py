"""Answer and observe: every model behind one interface, whatever engine runs it."""
