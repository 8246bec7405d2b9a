from fastapi import FastAPI, HTTPException

from cardume import CurrentIdentity, Hub, Identity

hub = Hub()
app = FastAPI()
app.include_router(hub.router)


@hub.channel("room:{room_id}", path="/ws/room/{room_id}", history=100, presence=True)
async def room(room_id: int, identity: Identity) -> None:  # the body is the authorisation
    if room_id == 13 and not identity.is_admin:
        raise HTTPException(403, "members only")


@app.post("/rooms/{room_id}/messages")
async def say(room_id: int, text: str, who: CurrentIdentity) -> dict[str, str]:
    position = await hub.publish(f"room:{room_id}", "message", {"text": text, "by": who.sub})
    return {"position": str(position)}
