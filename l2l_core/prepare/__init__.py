"""Raw files to prepared store: `build` drives, `readers` know the layouts."""
