"""HTTP as we speak it: the client of bootstrap, and the server that the APIs run on. No actors, no opinion."""
