"""The bytes of MQTT 3.1.1 and 5.0: packets as values, read and written without I/O."""
