"""Scripts that the Makefile and the maintainers run, and stand-ins for models and rows."""
