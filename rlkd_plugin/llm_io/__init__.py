"""All network access, with the settings, the server engine and the teacher cache."""
