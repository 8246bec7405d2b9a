"""`cardume exec`: a command on the caller's own machine, watched through a server.

The command's output goes three ways: unchanged to our own stdout and stderr, as chunks into a
spool, and from there as lines to the server, at whatever pace the server takes. What the server
does, or fails to do, never touches the command, except for a viewer's cancel.
"""
