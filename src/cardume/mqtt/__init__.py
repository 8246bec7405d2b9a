"""MQTT 3.1.1 and 5.0: the listener that devices connect to, and the intake that feeds a handler."""
