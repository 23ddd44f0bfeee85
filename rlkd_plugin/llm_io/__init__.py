"""The only sockets: settings, the chat client, the server engine and the teacher cache."""
