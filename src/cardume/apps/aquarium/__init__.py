"""Aquarium monitoring: devices over MQTT in, live readings and alerts out."""

from cardume.apps.aquarium.app import Aquarium, AquariumOptions

__all__ = ["Aquarium", "AquariumOptions"]
