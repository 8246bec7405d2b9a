"""Aquarium monitoring: devices over MQTT in, live readings and alerts out."""

from cardume.apps.aquarium.app import Aquarium, AquariumOptions
from cardume.apps.aquarium.http import router

__all__ = ["Aquarium", "AquariumOptions", "router"]
