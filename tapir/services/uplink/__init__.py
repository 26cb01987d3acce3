"""Towards Core: the MQTT connection, and what is sent over it."""
