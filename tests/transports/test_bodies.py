"""What request bodies have in common."""

from __future__ import annotations

from cardume.transports.bodies import Body, Name, Patch


class Whole(Body):
    name: Name | None = None
    size: int = 3


class Part(Patch):
    name: Name | None = None
    size: int = 3


def test_a_patch_names_no_defaults_that_a_client_might_fill_in() -> None:
    assert Whole.model_json_schema()["properties"]["size"]["default"] == 3
    schema = Part.model_json_schema()
    assert not any("default" in member for member in schema["properties"].values())
    assert "required" not in schema
    assert Part(size=4).model_dump(exclude_unset=True) == {"size": 4}
