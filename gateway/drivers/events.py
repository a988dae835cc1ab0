"""What a driver's machine tells the pump that drives it.

A machine knows its protocol and neither line nor clock. `begin(message)` starts an exchange; `output()`
gives the frame to send, and from then on answers count; `receive(data)` takes what came, in pieces of any
size, and gives events; `pause()` says that the line was quiet for longer than a frame may pause;
`silence()` says that the time for an answer is over, and gives an event or None; `abandon()` ends an
exchange that nobody waits for; `unfinished` tells whether more bytes are due. An event is (kind, value);
after SEND the events that came with it are void.
"""

# Send the machine's output, now or again.
SEND = 1
# The exchange is done; the value is the authenticated response message.
ANSWER = 2
# The exchange is over; the value is the error to raise.
FAILED = 3
# A frame came that is no answer to this request; the real one may follow.
IGNORED = 4
# The meter has something to tell; at any time.
ALERT = 5
# Bytes to send at once, which end nothing and begin nothing: an acknowledgement; the value is these bytes.
REPLY = 6
# The meter took what was sent, or has more to say; the value is how many milliseconds it may take.
TAKEN = 7
