"""MQTT 5 and 3.1.1 on Trio, a client: no actors, no opinion on topics and payloads."""
