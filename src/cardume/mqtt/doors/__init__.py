"""How bytes come in: TCP, TLS and WebSocket, their deadlines and their bounds."""
