"""MQTT as a client speaks it: packets as values, how a stream is cut into them, and 3.1.1 in octets.

MQTT 5 in octets is a package's work, `tapir.transport.mqtt.v5` is its fence. Both are a `packets.Codec`.
"""
