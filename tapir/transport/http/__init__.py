"""HTTP: what serves an ASGI application on Trio, and what asks other servers."""
