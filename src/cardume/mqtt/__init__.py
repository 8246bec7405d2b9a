"""MQTT 3.1.1: the embedded listener devices connect to, and the intake that feeds a handler."""
