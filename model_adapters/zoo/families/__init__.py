"""One module a family of built-in models: `build` makes an untrained one, `open_up` wraps a loaded one."""
